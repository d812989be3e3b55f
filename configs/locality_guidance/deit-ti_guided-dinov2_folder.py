# Precomputed features of a large pretrained teacher. timm downloads its weights unless
# guidance.teacher.checkpoint is set:
#   python tools/locality_guidance/precompute.py \
#       configs/locality_guidance/deit-ti_guided-dinov2_folder.py \
#       --out data/teacher_features/dinov2_folder --cfg-options data_root=/my/images
_base_ = "./deit-ti_folder.py"

model = dict(
    type="smallvit.GuidedClassifier",
    guidance=dict(
        teacher=dict(
            model=dict(
                type="smallvit.TimmBackbone",
                model_name="vit_small_patch14_dinov2.lvd142m",
                img_size=224,
                out_norm=True,  # feature magnitudes differ between its blocks
                pretrained=True,
            ),
            size=224,
            stages=(3, 7, 11),
            dtype="bfloat16",
        ),
        student_indices=(3, 7, 11),
        store="data/teacher_features/dinov2_folder",
    ),
)

load, crop, flip, *others, pack = _base_.train_pipeline
train_pipeline = [
    load,
    dict(type="smallvit.LoadTeacherFeatures"),
    dict(crop, type="smallvit.GuidedRandomResizedCrop"),
    dict(flip, type="smallvit.GuidedRandomFlip"),
    *others,
    dict(pack, algorithm_keys=["teacher_features"]),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
