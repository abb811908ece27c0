"""What people look at: the report of a run and of a sweep, made of their files alone. Nothing here imports torch.

What a sweep says, as functions of `SweepResults` (read with config=True, so that units are known). `layout` is
`lay_out(results)`; nothing unlike is averaged: what a metric was measured under is `where`, and each condition has an
object of its own.

    layout.lay_out(results) -> Layout, numbers_of(layout, metric) -> Numbers
    effects.effects(layout, metric) -> [Effect(key, levels: Level, contrasts: Contrast, headlines)], incomparable
    interactions.Interaction: of a contrast, where it depends on other keys
    best.best(layout, metric) -> [Best(best: Contender, next, behind, interval, beyond_chance, alike)]
    ablation.precision(layout) -> [PrecisionEffect(metric, contrast, ratio)]
    plane.rate_distortion(layout) -> [Plane(curves: Curve(points: PlanePoint))]
    maps.map_keys(layout), maps.maps(layout, metric) -> [Map(rows, columns, cells: MapCell)]
    cost.cost(results) -> Cost(parts: Part), failures.failures(results) -> [Failure], progress(results) -> Progress
    search_summary.read_searches(directory) -> [SearchSummary(trials: Trial, importances, front)]
    sentences.say_effects(layout, metric), conclusions.say_best, say_precision -> [Sentence(text, key, verdict, better)]
    conclusions.say_cost(cost), say_progress(progress) -> text, empty where there is nothing to say
    words.words_for(keys, runs) -> Words, quantity(metric) -> Quantity, duration(seconds)

All text is plain, and may hold anything that a value of a configuration can.
"""
