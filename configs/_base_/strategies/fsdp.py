# Fully sharded data parallelism of PyTorch, for models that do not fit one GPU. GPUs only.
#   _base_ = ["<config>.py", "../_base_/strategies/fsdp.py"]
#   optim_wrapper = dict(type="AmpOptimWrapper", use_fsdp=True)  # only for mixed precision
runner_type = "FlexibleRunner"
strategy = dict(
    type="FSDPStrategy",
    # Save full weights in one file, which any other training or testing setup can read.
    state_dict_cfg="full",
    model_wrapper=dict(
        auto_wrap_policy=dict(
            type="torch.distributed.fsdp.wrap.size_based_auto_wrap_policy",
            min_num_params=1_000_000,
        )
    ),
)
