"""The topology of a morphable model, for the rooms that may not ask `reconstruct` themselves."""

from functools import cache

from mmface4d.face_topology import FaceTopology


@cache
def model_topology(name: str) -> FaceTopology:
    """The topology of the model of that name; raises ModelError where there is none or its file is damaged."""
    from reconstruct.models.landmark_sets import ibug_points
    from reconstruct.models.library import load_model

    model = load_model(name)
    landmarks = ibug_points(model.landmarks, model.landmarks.positions(model.mean))
    return FaceTopology(model.name, model.mean, model.faces, landmarks=landmarks, masks=dict(model.regions))
