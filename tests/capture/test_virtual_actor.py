"""The virtual actor: what is heard, what the mouth does, and that both belong together."""

import sys
import threading
from itertools import pairwise

import numpy as np
import pytest

from capture.virtual import espeak
from capture.virtual.emotion import EMOTIONS
from capture.virtual.espeak import MAX_CHARACTERS, Phoneme, say
from capture.virtual.motion import BROW_RISE_S, blink_times, stresses
from capture.virtual.performance import NAMES, face_curves, idle, perform
from capture.virtual.speech import DOMINANCE_S, PARAMETERS, SOUNDS, speak
from capture.virtual.visemes import lip_contacts, mouth, segments, touch
from capture.virtual.voice import SAMPLE_RATE
from mmface4d.demo_actor import actor_face, make_actor
from mmface4d.errors import InputError, MissingBackendError, UsageError
from mmface4d.speech_curves import pulses
from mmface4d.transforms import is_rigid, rotation_angle_deg

pytest.importorskip("espeakng_loader", reason="espeak-ng is not installed: pip install 'mmface4d[capture]'")

ENGLISH, MANDARIN = "Please buy my father a warm coffee.", "妈妈今天很不高兴，我们怕。"
SENTENCES = [("en", ENGLISH), ("zh", MANDARIN)]
INNER_LIPS = ((13, 14), (82, 87), (312, 317))  # MediaPipe's points above and below the lips' line
CLOSED_MM, OPEN_MM = 0.35, 5.0
FASTEST_DEG_PER_S = 60.0


@pytest.fixture(scope="module")
def spoken():
    return {language: say(text, language) for language, text in SENTENCES}


@pytest.fixture(scope="module")
def model():
    from reconstruct.models.library import load_model

    return load_model("canonical")


def onset_s(sound: np.ndarray) -> float:
    return float(np.flatnonzero(np.abs(sound) > 0.01 * np.abs(sound).max())[0]) / SAMPLE_RATE


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_sentence_is_sound_and_phonemes_in_order(spoken, language):
    said = spoken[language]
    assert 1.0 < said.duration_s < 4.0
    assert 0.1 < np.abs(said.samples).max() <= 1
    starts = np.array([phoneme.start_s for phoneme in said.phonemes])
    ends = np.array([phoneme.end_s for phoneme in said.phonemes])
    assert len(starts) > 12
    assert (ends > starts).all()
    assert (starts[1:] >= ends[:-1] - 1e-9).all()
    assert 0 <= starts[0] < ends[-1] <= said.duration_s + 1e-3
    assert any(phoneme.stressed for phoneme in said.phonemes)


def test_bursts_are_where_their_phonemes_begin(spoken):
    """The sound is loudest in vowels, and nothing is heard just before an unvoiced stop."""
    said = spoken["en"]
    burst = next(phoneme for phoneme in said.phonemes[5:] if phoneme.ipa == "k")
    at = round(burst.start_s * SAMPLE_RATE)
    before = said.samples[at - round(0.030 * SAMPLE_RATE) : at - round(0.005 * SAMPLE_RATE)]
    after = said.samples[at : at + round(0.03 * SAMPLE_RATE)]
    assert np.abs(before).max() < 0.05 * np.abs(after).max()


def test_rate_and_pitch_are_heard():
    slow, quick = (say(ENGLISH, rate=rate).duration_s for rate in (110, 220))
    assert slow > 1.5 * quick
    low, high = (_pitch_hz(say("aah", pitch=pitch).samples) for pitch in (20, 80))
    assert high > 1.3 * low


def _pitch_hz(sound: np.ndarray) -> float:
    middle = sound[len(sound) // 4 : len(sound) // 4 + 4800]
    match = np.correlate(middle, middle, "full")[len(middle) - 1 :]
    low, high = SAMPLE_RATE // 400, SAMPLE_RATE // 60
    return SAMPLE_RATE / (low + int(match[low:high].argmax()))


@pytest.mark.parametrize(
    ("text", "options", "error", "named"),
    [
        ("", {}, InputError, "nothing to say"),
        ("… !?", {}, InputError, "nothing to say"),
        ("a " * MAX_CHARACTERS, {}, InputError, "characters"),
        ("yes", {"language": "xx"}, InputError, "'xx'"),
        ("yes", {"language": "../../etc"}, InputError, "no language"),
        ("yes", {"rate": 10}, UsageError, "rate 10"),
    ],
)
def test_what_cannot_be_said_is_refused(text, options, error, named):
    with pytest.raises(error, match=named) as caught:
        say(text, **options)
    assert caught.value.hint


def test_odd_characters_do_no_harm():
    assert say("\x00Yes\x1b[31m \ufffe [[ <break/> & 42 😀\nno", "en").phonemes


def test_an_absent_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingBackendError, match="not installed") as caught:
        say("yes")
    assert "mmface4d[capture]" in str(caught.value.hint)


def test_a_crash_of_the_library_is_an_error_and_no_more(monkeypatch, tmp_path):
    crashing = tmp_path / "crash.py"
    crashing.write_text("import ctypes; ctypes.string_at(0)")
    monkeypatch.setattr(espeak, "PROCESS", crashing)
    with pytest.raises(MissingBackendError, match="failed at 'yes'"):
        say("yes")
    monkeypatch.undo()
    monkeypatch.setattr(espeak, "_installed", lambda: ("/nowhere/libespeak.so", "/nowhere"))
    with pytest.raises(MissingBackendError, match="nowhere"):
        say("yes")


def test_threads_do_not_meet(spoken):
    heard: dict[str, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda pair=pair: heard.update({pair[0]: say(pair[1], pair[0]).samples}))
        for pair in SENTENCES
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for language, said in spoken.items():
        assert np.array_equal(heard[language], said.samples)


def test_the_syllables_of_the_demonstration_are_what_they_were():
    """The formulas that `speech` had before it shared them."""
    speech, times_s = speak(2.0), np.arange(60) / 30
    middles = np.array([sound.middle_s for sound in speech.sounds])
    widths = np.array([sound.dominance_s for sound in speech.sounds])
    targets = np.array([SOUNDS[sound.letter] for sound in speech.sounds])
    weight = np.exp(-np.abs(times_s[:, None] - middles) / widths) + 1e-12
    curves: dict[str, np.ndarray] = dict(
        zip(PARAMETERS, (weight @ targets / weight.sum(1, keepdims=True)).T, strict=True)
    )
    closed = middles[[sound.letter in ("m", "b") for sound in speech.sounds]]
    met = np.exp(-((np.abs(times_s[:, None] - closed).min(1) / 0.032) ** 4))
    curves["jawOpen"] = curves["jawOpen"] * (1 - 0.8 * met)
    curves["mouthClose"] = met * curves["jawOpen"]
    for name, curve in speech.curves(times_s).items():
        assert np.array_equal(curve, curves[name]), name
    assert set(DOMINANCE_S) == {"vowel", "consonant", "pause"}


def test_mouths_take_the_shapes_of_their_sounds():
    def middle_of(ipa: str) -> dict[str, float]:
        one = (Phoneme(ipa, 0.0, 0.2), Phoneme("t", 0.2, 0.3))
        return {name: float(curve[0]) for name, curve in mouth(one, np.array([0.1])).items()}

    assert middle_of("ɑː")["jawOpen"] > 0.4
    assert middle_of("uː")["mouthPucker"] > 0.5
    assert middle_of("ˈiː")["mouthSmile"] > 0.35
    assert middle_of("f")["mouthRollLower"] > 0.5
    diphthong = mouth((Phoneme("aʊ", 0.0, 0.3),), np.array([0.07, 0.23]))
    assert diphthong["jawOpen"][0] > diphthong["jawOpen"][1] + 0.15
    assert diphthong["mouthPucker"][1] > diphthong["mouthPucker"][0] + 0.3


def test_neighbours_colour_a_sound():
    def pucker(vowel: str) -> float:
        phonemes = (Phoneme("s", 0.0, 0.1), Phoneme(vowel, 0.1, 0.25))
        return float(mouth(phonemes, np.array([0.08]))["mouthPucker"][0])

    assert pucker("uː") > pucker("iː") + 0.1


def test_curves_are_smooth(spoken):
    times_s = np.arange(0, spoken["en"].duration_s, 1e-3)
    for name, curve in mouth(spoken["en"].phonemes, times_s).items():
        assert np.abs(np.diff(curve)).max() < 0.06, name
        assert curve.min() >= 0, name


@pytest.mark.parametrize("emotion", list(EMOTIONS))
@pytest.mark.parametrize(("language", "text"), SENTENCES)
def test_lips_are_closed_for_bilabials_and_in_silence(model, language, text, emotion):
    """On the mesh itself, whatever the emotion does to the mouth."""
    performance = perform(text, language=language, emotion=emotion, seed=3)
    face = actor_face(make_actor(model, seed=1), model)
    still = np.tile(np.eye(4), (len(performance), 1, 1))
    head = face(performance.weights, performance.names, still)
    gap_mm = np.array([_lip_gap_mm(model, vertices) for vertices in head.vertices])
    times_s, (begin_s, end_s) = performance.times_s, performance.spoken_s or (0, 0)
    assert gap_mm.max() > OPEN_MM
    contacts = lip_contacts(segments(performance.phonemes))
    assert len(contacts) >= 4
    closed = [gap_mm[(times_s >= first) & (times_s <= last)] for first, last in contacts]
    assert all(len(frames) for frames in closed)
    assert np.concatenate(closed).max() < CLOSED_MM
    assert gap_mm[(times_s <= begin_s) | (times_s >= end_s)].max() < CLOSED_MM
    assert gap_mm.min() > -0.5  # and do not pass through each other


def _lip_gap_mm(model, vertices: np.ndarray) -> float:
    points = dict(zip(model.landmarks.mediapipe.tolist(), model.landmarks.positions(vertices), strict=True))
    return max(1000 * float(points[above][1] - points[below][1]) for above, below in INNER_LIPS)


@pytest.mark.parametrize(("language", "text"), [*SENTENCES, ("en", "All is well."), ("en", "Pay me."), ("de", "Fein.")])
def test_sound_begins_and_ends_with_the_phonemes(language, text):
    performance = perform(text, language=language, emotion="happy", seed=1, lead_s=0.7, tail_s=0.4)
    begin_s, end_s = performance.spoken_s or (0.0, 0.0)
    assert begin_s == pytest.approx(0.7)
    assert abs(onset_s(performance.sound) - begin_s) < 0.020
    assert abs(len(performance.sound) / SAMPLE_RATE - onset_s(performance.sound[::-1]) - end_s) < 0.15
    assert not performance.sound[: round(begin_s * SAMPLE_RATE) - 1].any()
    assert not performance.sound[round(end_s * SAMPLE_RATE) + 1 :].any()
    assert len(performance) == np.ceil((end_s + 0.4) * 30)
    assert len(performance.sound) == len(performance) * SAMPLE_RATE // 30


def test_the_mouth_opens_with_the_sound():
    performance = perform("All is well.", seed=1)
    begin_s, end_s = performance.spoken_s or (0.0, 0.0)
    times_s = np.arange(0, end_s + 0.5, 1e-3)
    curves = face_curves(performance.phonemes, times_s, EMOTIONS["surprise"])
    opened = curves["jawOpen"] - curves["mouthClose"] > 0.01
    assert abs(times_s[opened.argmax()] - onset_s(performance.sound)) < 0.020
    assert not opened[(times_s <= begin_s) | (times_s >= end_s)].any()


def test_lips_part_when_a_p_bursts():
    phonemes = (Phoneme("a", 0.0, 0.25), Phoneme("p", 0.25, 0.28), Phoneme("ɑː", 0.28, 0.5))
    met = touch(phonemes, np.array([0.15, 0.22, 0.25, 0.30]))
    assert met[0] < 0.05
    assert (met[1:3] == 1).all()
    assert met[3] < 0.05


def test_emotions_differ_in_face_and_voice():
    faces, voices = {}, {}
    for emotion in EMOTIONS:
        performance = perform(ENGLISH, emotion=emotion, seed=2)
        begin_s, end_s = performance.spoken_s or (0.0, 0.0)
        talking = (performance.times_s > begin_s) & (performance.times_s < end_s)
        faces[emotion] = performance.weights[talking].mean(0)
        voices[emotion] = (end_s - begin_s, np.sqrt(np.mean(performance.sound**2)))
        # nothing is felt before its onset and after its release
        brows = performance.weight("browDownLeft") + performance.weight("browInnerUp")
        assert brows[0] < 0.02
        assert brows[-1] < 0.02
    assert len(EMOTIONS) == 7
    names = list(EMOTIONS)
    for at, first in enumerate(names):
        for second in names[at + 1 :]:
            assert np.abs(faces[first] - faces[second]).max() > 0.15, (first, second)
    assert voices["sad"][0] > 1.15 * voices["neutral"][0] > 1.15 * voices["fear"][0]
    assert voices["angry"][1] > voices["neutral"][1] > voices["sad"][1]


def test_a_seed_is_one_performance():
    first, again, other = (perform(ENGLISH, emotion="happy", seed=seed) for seed in (5, 5, 6))
    assert first.weights.tobytes() == again.weights.tobytes()
    assert first.actor_from_head.tobytes() == again.actor_from_head.tobytes()
    assert first.sound.tobytes() == again.sound.tobytes()
    assert first.phonemes == again.phonemes
    assert first.sound.tobytes() != other.sound.tobytes()
    assert not np.array_equal(first.actor_from_head[:20], other.actor_from_head[:20])


@pytest.mark.parametrize("fps", [5, 15, 30])
def test_every_rate_samples_the_same_movement(fps):
    whole, coarse = (perform(ENGLISH, seed=4, fps=rate) for rate in (30, fps))
    step = 30 // fps
    count = min(len(whole.weights[::step]), len(coarse) - 1)
    assert np.array_equal(whole.sound[: SAMPLE_RATE * 2], coarse.sound[: SAMPLE_RATE * 2])
    mouth_of = [NAMES.index("jawOpen"), NAMES.index("mouthPucker")]
    assert np.allclose(whole.weights[::step][:count, mouth_of], coarse.weights[:count, mouth_of])


def test_weights_are_weights_and_heads_move_like_heads():
    for emotion in EMOTIONS:
        performance = perform(ENGLISH, emotion=emotion, seed=7)
        assert performance.weights.min() >= 0
        assert performance.weights.max() <= 1
        poses = performance.actor_from_head
        assert all(is_rigid(pose) for pose in poses)
        turns = [rotation_angle_deg(b[:3, :3] @ a[:3, :3].T) for a, b in pairwise(poses)]
        assert 2 < max(turns) * 30 < FASTEST_DEG_PER_S
        assert max(rotation_angle_deg(pose[:3, :3]) for pose in poses) < 12
        assert np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).max() < 0.003


def test_heads_nod_and_brows_rise_at_stresses():
    at = stresses(perform(ENGLISH, seed=1).phonemes)
    assert len(at) >= 3
    assert np.diff(at).min() >= 0.4
    times_s = np.arange(0, 3, 0.01)
    rise = pulses(times_s, at, width_s=BROW_RISE_S, heights=np.ones(len(at)))
    assert rise[np.abs(times_s - at[0]).argmin()] > 0.95
    assert not pulses(times_s, (), width_s=0.3, heights=np.zeros(0)).any()


def test_blinks_come_as_often_as_people_blink():
    rng = np.random.default_rng(0)
    at = np.array(blink_times(600.0, rng))
    assert np.diff(at).min() > 0.3
    assert 10 < len(at) / 10 < 30  # a minute
    performance = perform(ENGLISH * 3, seed=2)
    assert performance.weight("eyeBlinkLeft").max() > 0.8
    assert np.array_equal(performance.weight("eyeBlinkLeft"), performance.weight("eyeBlinkRight"))


def test_who_waits_is_silent_and_breathes():
    waiting = idle(seconds=4.0, seed=3)
    assert len(waiting) == 120
    assert not waiting.sound.any()
    assert not waiting.phonemes
    assert waiting.spoken_s is None
    assert not waiting.weight("jawOpen").any()
    shut = waiting.weight("eyeBlinkLeft")
    looped = np.tile(np.concatenate([shut, shut[-2:0:-1]]), 3)  # as the stage shows it
    downs = np.flatnonzero((looped[1:] > 0.5) & (looped[:-1] <= 0.5))
    assert len(downs) >= 3
    assert np.diff(downs).min() > 0.3 * 30
    assert 0.0005 < np.ptp(waiting.actor_from_head[:, 1, 3]) < 0.006
    assert max(rotation_angle_deg(pose[:3, :3]) for pose in waiting.actor_from_head) < 3


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"emotion": "bored"}, "'bored'"),
        ({"fps": 24}, "24"),
        ({"lead_s": -1.0}, "waiting"),
        ({"tail_s": 1e9}, "waiting"),
    ],
)
def test_performances_that_there_are_not(options, named):
    with pytest.raises(UsageError, match=named):
        perform("yes", **options)
