# Oxford Flowers, 102 classes, same as Chaoyang: trained on train and val together (2,040 images),
# tested on test (6,149), as in the locality guidance paper.
_base_ = "./chaoyang_224_randaug.py"

data_preprocessor = dict(num_classes=102)

flowers = dict(type="Flowers102", data_root="data/Flowers102")
train_dataloader = dict(dataset=dict(split="trainval", **flowers))
# The dataset sets test_mode if split is test.
val_dataloader = dict(
    dataset=dict(
        _delete_=True, split="test", pipeline={{_base_.val_dataloader.dataset.pipeline}}, **flowers
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(topk=(1, 5))
test_evaluator = val_evaluator
