"""A data set before anyone trains on it: what `lehr data` and `lehr.describe` say."""

from __future__ import annotations

from lehr.data.survey.finding import Finding
from lehr.data.survey.suggestion import Suggestion
from lehr.data.survey.survey import Survey, survey

__all__ = ["Finding", "Suggestion", "Survey", "survey"]
