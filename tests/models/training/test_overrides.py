"""key=value: published numbers, then the user's; whatever does not fit is one line that names the way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from viewmill.augment import presets
from viewmill.models.training.config import RunConfig, describe
from viewmill.models.training.overrides import plain, resolve, with_assignment


@dataclass(frozen=True)
class Network:
    backbone: str = "resnet18"
    widths: tuple[int, ...] = (64, 32)
    temperature: float = 0.5


PUBLISHED: dict[str, Any] = {
    "epochs": 100, "batch_size": 4096, "recipe": "simclr_pil",
    "optimizer": {"name": "lars", "lr": 0.3, "scaling": "linear", "weight_decay": 1e-6},
    "schedule": {"warmup_epochs": 10},
}


def config(*words: str) -> RunConfig:
    return resolve("simclr", ["data=train.tar", *words], PUBLISHED, Network())[0]


def error(*words: str) -> str:
    with pytest.raises(ValueError) as caught:
        resolve("simclr", ["data=train.tar", *words], PUBLISHED, Network())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_published_values_stand_where_nothing_is_said() -> None:
    run = config()
    assert (run.epochs, run.batch_size, run.recipe, run.clip_grad) == (100, 4096, "simclr_pil", None)
    assert (run.optimizer.name, run.optimizer.lr, run.schedule.warmup_epochs) == ("lars", 0.3, 10)
    assert run.model == Network() and run.out == "runs/simclr"


def test_values_reach_every_level_and_keep_their_types() -> None:
    run = config("batch_size=64", "optimizer.lr=1e-3", "model.backbone=vit_tiny", "model.widths=[8,4]", "knn.test_data=*.tar",
                 "loader.threads=2", "clip_grad=1", "channels_last=true", "loader.threads=3", "optimizer.betas=[0.9, 0.95]")
    assert (run.batch_size, run.optimizer.lr, run.loader.threads, run.clip_grad) == (64, 0.001, 3, 1.0)
    assert run.model == Network("vit_tiny", (8, 4)) and run.knn.test_data == "*.tar" and run.channels_last is True
    assert run.optimizer.betas == (0.9, 0.95) and isinstance(run.clip_grad, float)


@pytest.mark.parametrize("pattern", ["train-{0000..0009}.tar", "*.tar", "a=b.tar", "1234", "@x", "a: b", "null.tar"])
def test_a_pattern_stays_the_text_it_is(pattern: str) -> None:
    assert resolve("simclr", [f"data={pattern}"], PUBLISHED, Network())[0].data == pattern


def test_several_patterns_are_a_list() -> None:
    assert resolve("simclr", ["data=[a.tar, b.tar]"], PUBLISHED, Network())[0].data == ["a.tar", "b.tar"]


def test_an_unknown_key_names_the_nearest() -> None:
    assert error("optimizer.lrr=1") == "unknown key 'optimizer.lrr'; did you mean 'optimizer.lr'?"
    assert error("bach_size=1") == "unknown key 'bach_size'; did you mean 'batch_size'?"
    assert error("model.temprature=1") == "unknown key 'model.temprature'; did you mean 'model.temperature'?"


@pytest.mark.parametrize(("word", "message"), [
    ("epochs=many", "epochs needs a whole number (int), got 'many'"),
    ("epochs=1.5", "epochs needs a whole number (int), got '1.5'"),
    ("optimizer.lr=fast", "optimizer.lr needs a number (float), got 'fast'"),
    ("model.temperature=hot", "model.temperature needs a number (float), got 'hot'"),
    ("channels_last=perhaps", "channels_last needs true or false (bool), got 'perhaps'"),
    ("optimizer.name=adamax",
     "optimizer.name needs one of ['adamw', 'adam', 'sgd', 'nesterov', 'lars', 'larc', 'lamb'], got 'adamax'"),
    ("loader.threads=all", "loader.threads needs a whole number (int) or null, got 'all'"),
    ("optimizer.betas=0.9", "optimizer.betas needs a list like [float, float], got '0.9'"),
    ("schedule.steps_at=often", "schedule.steps_at needs a list like [float], got 'often'"),
    ("clip_mode=each", "clip_mode needs one of ['joint', 'per-part', 'per-tensor'], got 'each'"),
    ("optimizer=adamw", "optimizer has keys of its own: optimizer.name"),
    ("epochs", "'epochs' is not key=value"),
    ("method=mae", "the method is the first word"),
])
def test_a_wrong_type_names_the_key_the_type_and_the_value(word: str, message: str) -> None:
    assert error(word).startswith(message)


@pytest.mark.parametrize("word", ["epochs=0", "batch_size=0", "optimizer.lr=0", "clip_grad=0", "knn.k=0", "checkpoint.keep=0",
                                  "optimizer.betas=[0.9,1.0]", "seed=-1", "steps=0", "checkpoint.minutes=0", "data=",
                                  "optimizer.final_weight_decay=-1", "schedule.step_factor=0", "schedule.steps_at=[3,2]",
                                  "schedule.steps_at=[0]"])
def test_a_value_out_of_bounds_names_its_key(word: str) -> None:
    assert error(word).startswith(f"{word.split('=')[0]}")


def test_no_data_says_how_to_give_them() -> None:
    with pytest.raises(ValueError, match="simclr needs images: data=PATTERN"):
        resolve("simclr", [], PUBLISHED, Network())


def test_an_unknown_recipe_names_the_nearest() -> None:
    assert error("recipe=simclr_pill") == "there is no recipe 'simclr_pill'; did you mean 'simclr_pil'?"


def test_what_belongs_to_the_whole_recipe_is_a_key() -> None:
    _, recipe = resolve("simclr", ["data=x.tar", "recipe.decode=scaled", "recipe.repeats=2"], PUBLISHED, Network())
    assert (recipe.decode, recipe.repeats) == ("scaled", 2)
    assert error("recipe.decode=half") == "Recipe.decode needs 'full' or 'scaled', got 'half'"
    assert error("recipe.repeats=0") == "Recipe.repeats needs a whole number >= 1, got 0"


def test_recipe_fields_are_keys() -> None:
    _, recipe = resolve("simclr", ["data=x.tar", "recipe.global/0.blur.p=0", "recipe.block=64"], PUBLISHED, Network())
    p = {instance.name: next(op.p for op in instance.ops if op.name == "blur") for instance in recipe.instances}
    assert p == {"global/0": 0, "global/1": 0.5} and recipe.block == 64
    assert error("recipe.global/0.blurr.p=0") .endswith("did you mean 'blur'?")
    assert error("recipe.globl.blur.p=0").endswith("did you mean 'global'?")
    assert error("recipe.global.blur.q=0").startswith("blur has no field 'q'")
    assert error("recipe.global.blur.p=often").startswith("blur.p needs")
    assert error("recipe.blur=0").startswith("recipe.blur: use recipe.VIEW.OP.FIELD=value")


def test_the_size_of_a_group_takes_its_crops_with_it() -> None:
    recipe = with_assignment(presets.recipe("dino"), "global.size_px", "64")
    assert {name: (s.height, s.width) for name, s in recipe.groups.items()} == {"global": (64, 64), "local": (96, 96)}


def test_a_published_warm_up_shrinks_with_a_short_run_but_one_asked_for_does_not() -> None:
    assert config("epochs=5").schedule.warmup_epochs == 0.5
    assert config("epochs=11").schedule.warmup_epochs == 10
    assert error("epochs=5", "schedule.warmup_epochs=5") == "schedule.warmup_epochs=5 needs to be below epochs=5"


def test_a_published_last_rate_may_be_a_share_of_the_peak() -> None:
    def last(*words: str) -> float:
        published = {**PUBLISHED, "schedule": {"warmup_epochs": 10, "final_share": 0.001}}
        return resolve("simclr", ["data=train.tar", *words], published, Network())[0].schedule.final_lr

    assert last() == pytest.approx(0.0048)  # of 0.3 * 4096 / 256
    assert last("batch_size=256", "optimizer.lr=0.5") == pytest.approx(0.0005)
    assert last("schedule.final_lr=0.1") == 0.1
    assert last("schedule.law=steps", "schedule.steps_at=[5]") == 0


def test_a_rate_does_not_rise_to_its_end() -> None:
    assert error("batch_size=256", "schedule.final_lr=0.31") == (
        "schedule.final_lr=0.31, where the cosine ends, needs to be at most its peak, here 0.3 (optimizer.lr, scaled to the "
        "batch); use for example schedule.final_lr=0")
    assert config("batch_size=256", "schedule.final_lr=0.3").schedule.final_lr == 0.3


def stepped(*words: str) -> RunConfig:
    schedule = {"warmup_epochs": 0, "law": "steps", "steps_at": (30, 60, 90), "step_factor": 0.1}
    return resolve("simclr", ["data=train.tar", *words], {**PUBLISHED, "schedule": schedule}, Network())[0]


def test_published_falls_of_the_rate_shrink_with_a_short_run_but_those_asked_for_do_not() -> None:
    assert stepped().schedule.steps_at == (30, 60, 90) == stepped("epochs=91").schedule.steps_at
    assert stepped("epochs=10").schedule.steps_at == (3, 6, 9)
    assert stepped("epochs=90").schedule.steps_at == (27, 54, 81)  # the last would never have come
    assert stepped("epochs=1").schedule.steps_at == (0.3, 0.6, 0.9)
    assert stepped("epochs=10", "schedule.steps_at=[5]").schedule.steps_at == (5,)
    with pytest.raises(ValueError, match=r"^schedule\.steps_at=\[5\.0, 10\.0\] needs to end below epochs=10$"):
        stepped("epochs=10", "schedule.steps_at=[5, 10]")


def test_what_the_law_of_the_rate_has_no_use_for_is_refused() -> None:
    assert error("schedule.step_factor=0.2") == ("schedule.step_factor is for schedule.law=steps, this run has "
                                                 "schedule.law=cosine; leave one of the two out")
    with pytest.raises(ValueError, match=r"schedule\.final_lr is for schedule\.law=cosine, this run has schedule\.law=steps"):
        stepped("schedule.final_lr=0.1")
    with pytest.raises(ValueError, match=r"schedule\.per is for schedule\.law=cosine, this run has schedule\.law=steps"):
        stepped("schedule.per=epoch")
    assert stepped("schedule.law=cosine", "schedule.final_lr=0.1").schedule.final_lr == 0.1  # published falls are no wish
    assert error("schedule.step_factors=[0.2]").startswith("schedule.step_factor")
    with pytest.raises(ValueError, match=r"^schedule\.step_factor has no effect beside schedule\.step_factors=\[0\.5, 2\.0"):
        stepped("schedule.step_factors=[0.5, 2, 0.5]", "schedule.step_factor=0.3")


def test_factors_of_the_rate_are_as_many_as_its_changes() -> None:
    assert stepped("schedule.step_factors=[0.5, 2, 0.5]").schedule.step_factors == (0.5, 2, 0.5)
    with pytest.raises(ValueError, match=r"^schedule\.step_factors needs a number above 0 for each of schedule\.steps_at, 3"):
        stepped("schedule.step_factors=[0.5]")
    with pytest.raises(ValueError, match=r"^schedule\.step_factors needs a number above 0"):
        stepped("schedule.step_factors=[0.5, 0, 0.5]")


def test_options_of_a_store_are_given_as_names_and_values() -> None:
    options = config("remote.storage_options={endpoint_url: 'http://host:9000', anon: true}").remote.storage_options
    assert options == {"endpoint_url": "http://host:9000", "anon": True} and config().remote.storage_options is None


def test_the_tree_is_plain_data_and_every_key_is_described() -> None:
    import json

    tree = plain(config())
    assert json.loads(json.dumps(tree)) == tree and tree["model"]["widths"] == [64, 32]
    rows = {name: (default, meaning) for name, default, meaning in describe(RunConfig)}
    assert rows["checkpoint.keep"] == ("2", "how many of the newest are kept") and rows["optimizer.lr"][0] == ""
    assert rows["steps"][0] == "null" and all(meaning for _, meaning in rows.values())
    def keys(node: dict[str, Any], prefix: str = "") -> set[str]:
        return {k for n, v in node.items() for k in (keys(v, f"{prefix}{n}.") if isinstance(v, dict) else {f"{prefix}{n}"})}

    assert set(rows) - {"model"} == {k for k in keys(tree) if not k.startswith("model.")}
