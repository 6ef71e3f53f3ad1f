from flows.commands.exit_status import MEANINGS, ExitStatus


def test_every_exit_status_has_its_own_explanation() -> None:
    assert set(MEANINGS) == set(ExitStatus)
    assert len(set(MEANINGS.values())) == len(ExitStatus)


def test_scripts_can_rely_on_the_numbers() -> None:
    assert [int(status) for status in ExitStatus] == [0, 1, 2, 3, 129, 130, 143]
