# A small CNN trained on single digits guides the backbone of a segmentor. Train it first:
#   tools/train.py configs/locality_guidance/resnet-20_digits.py
_base_ = "./cvt-mini_digits-seg.py"

model = dict(
    type="smallvit.GuidedSegmentor",
    guidance=dict(
        teacher=dict(
            model="smallvit::locality_guidance/resnet-20_digits.py",
            checkpoint="work_dirs/resnet-20_digits/epoch_20.pth",
            size=None,  # same image size as the segmentor
        ),
        student_indices=(0, 1, 3),
    ),
)
