_base_ = "./dwnet-b_in1k.py"

model = dict(backbone=dict(conv="inhomogeneous"))

# Float32, as published; --amp trains in bfloat16.
optim_wrapper = dict(type="OptimWrapper")
