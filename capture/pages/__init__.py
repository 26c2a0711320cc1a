"""The operator's and the actor's page, served by the recording program itself."""

from importlib.util import find_spec

from mmface4d.errors import MissingBackendError

for _package in ("starlette", "uvicorn", "websockets"):
    if find_spec(_package) is None:
        raise MissingBackendError(
            f"the pages need the package {_package}",
            hint='pip install "mmface4d[capture]", or record without them: --auto --no-page',
        )
