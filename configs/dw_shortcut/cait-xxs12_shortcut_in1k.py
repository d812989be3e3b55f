_base_ = "./cait-xxs12_in1k.py"

# On ImageNet the paper drops the layer scale only.
model = dict(
    backbone=dict(
        type="smallvit.DWConvShortcut",
        host="smallvit.CaiT",
        with_layer_scale=False,
    )
)
