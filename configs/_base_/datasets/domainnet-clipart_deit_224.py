_base_ = "./domainnet_deit_224.py"

train_dataloader = dict(dataset=dict(domain="clipart"))
val_dataloader = dict(dataset=dict(domain="clipart"))
test_dataloader = val_dataloader
