_base_ = "./dwnet-t_ade20k.py"

# No ImageNet checkpoint was published; train one with dwnet-t_inhomogeneous_in1k.py.
weights = "work_dirs/dwnet-t_inhomogeneous_in1k/epoch_300.pth"
model = dict(backbone=dict(conv="inhomogeneous", init_cfg=dict(checkpoint=weights)))
