# Mask R-CNN for datasets of hundreds or thousands of images: compared with COCO, half of the
# channels after the backbone, a quarter in the mask head, which dominates the cost of images with
# many objects, a quarter of the proposals, and anchors from 16 pixels.
_base_ = "mmdet::_base_/models/mask-rcnn_r50_fpn.py"

width = 128
model = dict(
    neck=dict(out_channels=width),
    rpn_head=dict(in_channels=width, feat_channels=width, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=width),
        bbox_head=dict(in_channels=width, fc_out_channels=512),
        mask_roi_extractor=dict(out_channels=width),
        mask_head=dict(in_channels=width, conv_out_channels=width // 2),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=1000, max_per_img=500), rcnn=dict(sampler=dict(num=128))
    ),
    test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=500)),
)
