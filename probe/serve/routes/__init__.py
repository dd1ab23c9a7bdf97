"""The API, ``/v1``. Operation ids are names of methods; shapes of answers are in probe.serve.shapes."""
