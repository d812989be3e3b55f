# Precomputed features:
#   python tools/locality_guidance/precompute.py configs/locality_guidance/resnet-56_cifar100.py \
#       work_dirs/resnet-56_cifar100/epoch_300.pth --out data/teacher_features/cifar100
_base_ = "./deit-ti_guided_cifar100.py"

model = dict(
    guidance=dict(store="data/teacher_features/cifar100", teacher=dict(batch_statistics=False))
)

crop, flip, *others, pack = _base_.train_pipeline
train_pipeline = [
    dict(type="smallvit.LoadTeacherFeatures"),
    dict(crop, type="smallvit.GuidedRandomResizedCrop"),
    dict(flip, type="smallvit.GuidedRandomFlip"),
    *others,
    dict(pack, algorithm_keys=["teacher_features"]),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
