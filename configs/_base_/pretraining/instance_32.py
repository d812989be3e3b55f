# Each of the 50,000 images is a class: two large crops and two of half the size.
_base_ = "./views_32.py"

views, pack = _base_.train_pipeline
train_pipeline = [dict(views, num_views=[2, 2]), pack]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

model = dict(
    _delete_=True,
    type="smallvit.InstanceDiscrimination",
    head=dict(
        type="LinearClsHead",
        num_classes=50000,
        in_channels=192,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
    ),
)
