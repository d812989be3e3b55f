# UperNet for data sets of hundreds or thousands of images: a quarter of ADE20K's channels in the
# heads, and pixels of no class do not count in the mean of the loss. The tools set the number of
# classes.
_base_ = "mmseg::_base_/models/upernet_r50.py"

model = dict(
    pretrained=None,
    data_preprocessor=dict(size=(512, 512), test_cfg=dict(size_divisor=32)),
    decode_head=dict(channels=128, num_classes=2, loss_decode=dict(avg_non_ignore=True)),
    auxiliary_head=dict(channels=64, num_classes=2, loss_decode=dict(avg_non_ignore=True)),
)
