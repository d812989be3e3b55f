# UperNet for datasets of hundreds or thousands of images: a quarter of ADE20K's channels in the
# heads, and the loss is averaged over labeled pixels only. The tools set the number of classes.
_base_ = "mmseg::_base_/models/upernet_r50.py"

model = dict(
    pretrained=None,
    data_preprocessor=dict(size=(512, 512), test_cfg=dict(size_divisor=32)),
    decode_head=dict(channels=128, num_classes=2, loss_decode=dict(avg_non_ignore=True)),
    auxiliary_head=dict(channels=64, num_classes=2, loss_decode=dict(avg_non_ignore=True)),
)
