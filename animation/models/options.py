"""What all models' options have in common."""

from pydantic import BaseModel, ConfigDict


class ModelOptions(BaseModel):
    """Unknown options are refused, and so are values of another kind."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
