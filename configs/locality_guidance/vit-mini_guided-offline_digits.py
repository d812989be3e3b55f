# Precomputed features:
#   python tools/locality_guidance/precompute.py configs/locality_guidance/resnet-20_digits.py \
#       work_dirs/resnet-20_digits/epoch_20.pth --out data/teacher_features/digits
_base_ = "./vit-mini_guided_digits.py"

model = dict(guidance=dict(store="data/teacher_features/digits"))

resize, crop, *others, pack = _base_.train_pipeline
train_pipeline = [
    dict(type="smallvit.LoadTeacherFeatures"),
    resize,
    dict(crop, type="smallvit.GuidedRandomCrop"),
    *others,
    dict(pack, algorithm_keys=["teacher_features"]),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
