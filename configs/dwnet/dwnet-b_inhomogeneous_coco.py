_base_ = "./dwnet-b_coco.py"

# No ImageNet checkpoint was published; train one with dwnet-b_inhomogeneous_in1k.py.
weights = "work_dirs/dwnet-b_inhomogeneous_in1k/epoch_300.pth"
model = dict(backbone=dict(conv="inhomogeneous", init_cfg=dict(checkpoint=weights)))
