"""Where the curves of a run go besides its history: TensorBoard, CSV, Weights & Biases, MLflow."""
