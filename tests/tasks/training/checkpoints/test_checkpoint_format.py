import torch

from tasks.training.checkpoints.checkpoint_format import CheckpointFormat, trained_weights


def a_format(value: float) -> tuple[torch.nn.Module, CheckpointFormat]:
    """A frozen and a trained parameter of one value."""
    model = torch.nn.ParameterDict(
        {name: torch.nn.Parameter(torch.full((3,), value)) for name in ("frozen", "trained")}
    )
    model["frozen"].requires_grad_(False)
    optimizer = torch.optim.AdamW([model["trained"]], lr=0.1)
    return model, CheckpointFormat(model, optimizer, is_sharded=False)


def test_only_trained_weights_are_written_and_loaded(tmp_path):
    model, checkpoint = a_format(1.0)
    assert not checkpoint.has_weights(tmp_path)
    checkpoint.write_weights(tmp_path)
    assert checkpoint.has_weights(tmp_path)
    assert checkpoint.num_bytes == model["trained"].nbytes
    other, fresh = a_format(2.0)
    fresh.load_weights(tmp_path)
    assert torch.equal(other["trained"], torch.full((3,), 1.0))
    assert torch.equal(other["frozen"], torch.full((3,), 2.0))


def test_a_checkpoint_is_restored_with_its_random_numbers_only_on_request(tmp_path):
    model, checkpoint = a_format(1.0)
    torch.manual_seed(5)
    checkpoint.write(tmp_path)
    expected = torch.rand(3)
    other, fresh = a_format(2.0)
    restore = fresh.read(tmp_path)
    assert torch.equal(trained_weights(other)["trained"], torch.full((3,), 2.0))
    restore()
    assert torch.equal(trained_weights(other)["trained"], model["trained"])
    assert torch.equal(torch.rand(3), expected)
