"""A lab whose cameras are the virtual rig's, from `lab init` to a take."""

from pathlib import Path

import pytest

pytest.importorskip("pyk4a", reason="pyk4a is not installed")
pytest.importorskip("mediapipe", reason="mediapipe is not installed")
pytest.importorskip("espeakng_loader", reason="espeakng-loader is not installed")

from mmface4d.session import ScriptItem, Session, create_session
from mmface4d.take import open_take

pytestmark = pytest.mark.slow
RECORD = ("--virtual", "--auto", "--no-page")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, run_cli) -> Session:
    """A session in a lab whose `lab.toml` names the virtual cameras and sets 5 frames a second."""
    lab = tmp_path_factory.mktemp("virtual") / "lab"
    assert run_cli("lab", "init", lab, "--from-rig", "--virtual").returncode == 0
    text = (lab / "lab.toml").read_text()
    assert "# fps = 30 " in text
    (lab / "lab.toml").write_text(
        text.replace("# fps = 30 ", "fps = 5 ").replace("# post_roll_s = 0.5", "post_roll_s = 1")
    )
    return create_session(lab / "sessions" / "P01", subject="P01", script=[ScriptItem(id="a", text="We were away.")])


def test_a_take_is_as_the_lab_says(session: Session, run_cli) -> None:
    done = run_cli("record", session.path, *RECORD)
    assert done.returncode == 0, done.stderr
    assert "rig.fps 5 (line 16), recording.post_roll_s 1.0 (line 30)" in done.stderr
    with open_take(session.takes / "001-a-v1") as take:
        places = {serial: camera.settings["position"] for serial, camera in take.cameras.items()}
        assert take.info.fps == 5
    assert places == {"900000000000": "left", "900000000001": "front", "900000000002": "right"}
    assert "900000000001 (front)" in run_cli("take", "show", session.takes / "001-a-v1").stdout


def test_another_camera_than_the_labs_is_refused(session: Session, run_cli) -> None:
    file = session.path.parents[1] / "lab.toml"
    whole = file.read_text()
    try:
        file.write_text(whole.replace("900000000002", "900000000077"))
        done = run_cli("record", session.path, *RECORD)
    finally:
        file.write_text(whole)
    assert done.returncode == 3, done.stderr
    assert "not connected: 900000000077 (right); not named in lab.toml: 900000000002" in done.stderr


def test_a_real_labs_cameras_do_not_forbid_practice(tmp_path: Path, session: Session, run_cli) -> None:
    assert run_cli("lab", "init", tmp_path / "lab").returncode == 0
    (tmp_path / "lab" / "lab.toml").write_text('[cameras]\nfront = "1"\n[rig]\nfps = 5\nmaster = "1"\n')
    other = create_session(tmp_path / "lab" / "sessions" / "P02", subject="P02", script=list(session.script))
    done = run_cli("record", other.path, *RECORD)
    assert done.returncode == 0, done.stderr
    assert "not those of the virtual rig" in done.stderr
    with open_take(other.takes / "001-a-v1") as take:
        assert all("position" not in camera.settings for camera in take.cameras.values())
