"""The main job: end points, dictionary, sparse reconstructions."""
