"""Keys, their defaults and how they refuse."""

from __future__ import annotations

from dataclasses import fields

import pytest
from viewmill.pipelines.bench.peers import PEERS, Peer
from viewmill.pipelines.bench.settings import Settings, manual, settings_of


def test_at_least_forty_batches_are_counted_of_each_arm() -> None:
    for rounds in (1, 3, 5, 7):
        for threads in (1, 2, 16):
            settings = Settings(rounds=rounds, threads=threads)
            assert settings.counted * rounds >= 40 and settings.counted % threads == 0
    assert Settings(rounds=5, threads=2).counted == 8
    assert Settings(rounds=5, batches=3, threads=2).counted == 3  # what is asked for


def test_peers_are_all_or_by_name() -> None:
    assert Settings().named_peers == () and Settings(peers="false").named_peers == ()
    assert Settings(peers="true").named_peers == Settings(peers="all").named_peers == tuple(PEERS)
    assert Settings(peers="kornia,dali").named_peers == ("kornia", "dali")
    assert Settings(engine="cpu,torch").engines == ("cpu", "torch")


@pytest.mark.parametrize(("words", "says"), [
    ({"thread": "2"}, "unknown key 'thread'; did you mean 'threads'?"),
    ({"threads": "0"}, "threads needs a whole number >= 1"),
    ({"threads": "-1"}, "threads needs a whole number >= 1"),
    ({"rounds": "many"}, "rounds needs a whole number, got 'many'"),
    ({"busy": "maybe"}, "busy needs true or false, got 'maybe'"),
    ({"peers": "kornja"}, "there is no peer 'kornja'; did you mean 'kornia'?"),
    ({"engine": "cpu,tourch"}, "there is no engine 'tourch'; did you mean 'torch'?"),
])
def test_mistakes_are_named(words: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError) as error:
        settings_of(words)
    assert says in str(error.value)


def test_the_manual_lists_every_key_with_its_default_and_every_peer() -> None:
    text = manual()
    for each in fields(Settings):
        default = str(each.default).lower() if isinstance(each.default, bool) else each.default
        assert f"{each.name}={default}" in text
    assert all(name in text for name in PEERS) and "from=" in text and max(map(len, text.splitlines())) < 130


def test_a_peer_that_is_not_installed_says_how() -> None:
    assert Peer("x", "X", ("no_such_module_at_all",), "pip install x", ()).missing() == "not installed: pip install x"
    assert Peer("x", "X", ("no_such_module_at_all.inner",), "pip install x", ()).missing() == "not installed: pip install x"
    assert Peer("x", "X", ("json",), "pip install x", ()).missing() == ""
