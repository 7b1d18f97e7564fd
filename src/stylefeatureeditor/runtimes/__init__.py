"""Other engines and precisions under the same pipeline.

    quick.py               modules put in place of the plain ones when a model is opened
    convolution.py         3x3 convolutions on a CPU in fewer products
    coarse.py              a small picture of the whole generator, for previews
    graphs.py              the networks as graphs: tensors in, tensors out
    stand_ins.py           a Model whose networks an engine runs
    export.py              graphs to files: ONNX, OpenVINO, pt2
    engines.py             runs .onnx files; OpenVINO files in float32, bfloat16 or int8
    low_precision.py       PyTorch itself in bfloat16 or float16, compiled if asked
    quantize.py            int8 for OpenVINO, calibrated on photos
    choose.py              a model folder opened on the backend that a user names

Directions, masks and photos stay outside: they are tensors before they reach a graph.
"""
