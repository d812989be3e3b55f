# The maps of a small CNN that knows single digits teach a segmentor's backbone. Train it first:
#   tools/train.py configs/locality_guidance/resnet-20_digits.py
_base_ = "./cvt-mini_digits-seg.py"

model = dict(
    type="smallvit.GuidedSegmentor",
    guidance=dict(
        teacher=dict(
            model="smallvit::locality_guidance/resnet-20_digits.py",
            checkpoint="work_dirs/resnet-20_digits/epoch_20.pth",
            size=None,  # scenes at the size that the segmentor sees
        ),
        student_indices=(0, 1, 3),
    ),
)
