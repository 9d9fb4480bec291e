"""What all settings share."""

from pydantic import BaseModel, ConfigDict


class StageSettings(BaseModel):
    """Base of all settings: immutable, unknown names and non-finite numbers are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
