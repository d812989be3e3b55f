_base_ = "./dhvt-t_custom-coco.py"

# Boxes only (Faster R-CNN), without masks.
load, _, *others = _base_.train_pipeline
_, resize, _, pack = _base_.test_pipeline
train_pipeline = [load, _base_.without_masks, *others]
test_pipeline = [load, resize, _base_.without_masks, pack]

model = dict(type="FasterRCNN", roi_head=dict(mask_roi_extractor=None, mask_head=None))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_evaluator = dict(metric="bbox")
test_evaluator = dict(metric="bbox")
