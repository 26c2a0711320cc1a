"""Camera poses from the actor's face: landmarks, rigid alignment, ICP, pose graph, report."""
