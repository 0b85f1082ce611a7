"""The backend `trl`: a plan carried out by TRL's trainers, with their losses and PEFT's adapters.

An independent implementation of what `loop` does: `SFTTrainer` for `nll`, `DPOTrainer` for `dpo` and
`KTOTrainer` for `kto`. Ours are the rows (tokenized as for `loop`, so that prompts are those of the target),
their order (the plan's batches, none shuffled), the schedule, and the states to go on from (safetensors, no
pickle). Nothing is dropped out at random.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sightline.errors import UsageError
from sightline.targets.local.families import FAMILIES, facts_of
from sightline.targets.local.processors import quiet
from sightline.training import loop, lora
from sightline.training.loop import CLIP
from sightline.training.losses import mismatched
from sightline.training.model import Encoded, TrainableModel
from sightline.training.states import Keep, Spent, StepEnds, load_state
from sightline.tuning import Example, Plan, Progress

_TRAINERS = {"nll": "SFT", "dpo": "DPO", "kto": "KTO"}


def check_family(name: str, kind: str) -> None:
    """Make sure that TRL's trainers were tried with models of this type.

    Raises:
        UsageError: naming the backend that takes it.
    """
    if not facts_of(kind).trainers:
        tried = ", ".join(name for name, each in FAMILIES.items() if each.trainers)
        raise UsageError(
            f"{name}: backend 'trl' takes models of type {tried}, and this one is {kind}: use --backend loop"
        )


def check_plan(model: TrainableModel, plan: Plan) -> None:
    """Make sure that TRL's trainers take the model and the loss.

    Raises:
        UsageError: naming the backend that does.
    """
    check_family(str(model.folder), str(model.model.config.model_type))
    if plan.loss not in _TRAINERS:
        raise UsageError(f"backend 'trl' has no loss {plan.loss!r}: use --backend loop")


def run(
    model: TrainableModel, plan: Plan, work: Path, keep: Keep, report: Callable[[Progress], None]
) -> Spent:
    """Carry a plan out, or what is left of it; see `loop.run`.

    Raises:
        UsageError: for a model that TRL does not take, or a loss that is not finite.
    """
    check_plan(model, plan)
    with loop.on_few_threads(model), quiet(), _no_warnings(), tempfile.TemporaryDirectory() as scratch:
        course = Course(model, plan, work, keep, report)
        trainer = trainer_of(course, Path(scratch))
        course.begin(trainer)
        if course.spent.step < plan.steps:
            trainer.train()
        model.model = course.plain()
    return course.spent


class Course:
    """A plan on its way: the model as TRL sees it, what is trained, and how far it is."""

    def __init__(
        self,
        model: TrainableModel,
        plan: Plan,
        work: Path,
        keep: Keep,
        report: Callable[[Progress], None],
    ) -> None:
        self.model, self.plan, self._work = model, plan, work
        self._keep, self._report = keep, report
        self.seen: Any = model.model if plan.lora is None else adapted(model, plan)
        self.weights = (
            model.trained(plan.frozen)
            if plan.lora is None
            else {name: each for name, each in self.seen.named_parameters() if each.requires_grad}
        )
        self.seen.train = MethodType(_as_it_is, self.seen)
        self.optimizer = torch.optim.AdamW(
            list(self.weights.values()), lr=plan.rate, betas=loop.BETAS, weight_decay=plan.weight_decay
        )
        self.spent = Spent()

    def begin(self, trainer: Any) -> None:
        """Go on from the last state; the base's likelihoods are the trainer's by now."""
        if facts_of(str(self.model.model.config.model_type)).picture_first:  # its forward hands on no states
            for each in (self.model.model, getattr(trainer, "ref_model", None)):
                if each is not None:
                    each.forward = MethodType(_scores, each)
        self.spent = load_state(self._work / loop.STATE, self.weights, self.optimizer)
        trainer.args.max_steps = self.plan.steps - self.spent.step
        state = self._work / loop.STATE
        self._ends = StepEnds(
            self.plan, state, self.weights, self.optimizer, self.spent, self._kept, self._report
        )

    @property
    def left(self) -> list[list[int]]:
        """Batches to come."""
        return [list(batch) for batch in self.plan.batches[self.spent.step :]]

    def schedule(self) -> torch.optim.lr_scheduler.LambdaLR:
        """The plan's rates, from here on."""
        start, plan = self.spent.step, self.plan
        return torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: loop.rate_at(plan, start + step) / plan.rate
        )

    def collate(self, rows: Sequence[dict[str, int]]) -> dict[str, Tensor]:
        """Tensors of a batch, for the trainer of the plan's loss."""
        return collated(self.model, self.plan, [self.plan.examples[row["number"]] for row in rows])

    def check(self, loss: Tensor) -> None:
        """Look at a step's loss and gradients before weights change."""
        norms = [each.grad.norm() for each in self.weights.values() if each.grad is not None]
        norm = float(torch.stack(norms).norm()) if norms else 0.0
        loop.check_finite(self.plan, self.spent.step, float(loss), norm)

    def step_done(self, loss: float, margin: float | None, counted: Any) -> None:
        """After an update: count, report, keep and save."""
        plan, spent = self.plan, self.spent
        examples = [plan.examples[number] for number in plan.batches[spent.step]]
        spent.count(loop.tokens_of(self.model, plan, examples), loss, counted)
        if margin is not None:
            spent.margins.append(margin)
        spent.step += 1
        self._ends.told()

    def _kept(self, step: int) -> None:
        """Keep a checkpoint of the model as it is without TRL."""
        held, self.model.model = self.model.model, self.plain(copied=True)
        self._keep(step)
        self.model.model = held

    def plain(self, *, copied: bool = False) -> Any:
        """The model without TRL's and PEFT's changes, adapters merged; `copied` leaves the model as it is."""
        if self.plan.lora is None:
            return self.model.model
        found = copy.deepcopy(self.seen) if copied else self.seen
        return found.merge_and_unload(adapter_names=["default"])


def adapted(model: TrainableModel, plan: Plan) -> Any:
    """The model with PEFT's adapters, which begin as those of `loop` do."""
    from peft import LoraConfig, get_peft_model

    assert plan.lora is not None
    names = model.linear_layers(plan.frozen)
    config = LoraConfig(r=plan.lora.rank, lora_alpha=plan.lora.alpha, lora_dropout=0.0, target_modules=names)
    found = get_peft_model(model.model, config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name in names:
            layer = model.model.get_submodule(name)
            first = lora.first_values(plan.lora.rank, layer.in_features, generator)
            layer.lora_A["default"].weight.copy_(first)
    return found


def trainer_of(course: Course, scratch: Path) -> Any:
    """TRL's trainer for the plan's loss, which follows the plan."""
    import trl
    from datasets import Dataset

    plan, name = course.plan, _TRAINERS[course.plan.loss]
    settings: dict[str, Any] = {"dataset_kwargs": {"skip_prepare_dataset": True}} if name == "SFT" else {}
    if name == "DPO":
        types = ["sigmoid", "sft"] if plan.nll_weight else ["sigmoid"]
        settings = {
            "beta": plan.beta,
            "loss_type": types,
            "loss_weights": [1.0, plan.nll_weight][: len(types)],
        }
    if name == "KTO":
        good, bad = plan.weights
        settings = {"beta": plan.beta, "desirable_weight": good, "undesirable_weight": bad}
    args = getattr(trl, f"{name}Config")(
        output_dir=str(scratch),
        max_steps=plan.steps,
        per_device_train_batch_size=max(2, *(len(batch) for batch in plan.batches)),
        train_sampling_strategy="sequential",
        max_length=None,
        max_grad_norm=CLIP,
        use_cpu=course.model.device.type == "cpu",
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        logging_nan_inf_filter=False,
        **settings,
    )
    args._n_gpu = min(args.n_gpu, 1)
    reference = {"ref_model": copy.deepcopy(course.seen)} if name != "SFT" and plan.lora is None else {}
    made = following(getattr(trl, f"{name}Trainer"))(
        course,
        model=course.seen,
        args=args,
        data_collator=course.collate,
        train_dataset=Dataset.from_dict({"number": range(len(plan.examples))}),
        processing_class=course.model.route.tokenizer,
        optimizers=(course.optimizer, None),
        **reference,
    )
    for callback in list(made.callback_handler.callbacks):
        if type(callback).__name__ == "PrinterCallback":
            made.remove_callback(callback)
    return made


def following(trainer: type) -> Any:
    """A trainer of TRL that takes its rows and rates from a plan, and tells what it does."""

    class Following(trainer):  # type: ignore[misc]
        def __init__(self, course: Course, **settings: Any) -> None:
            self._course = course
            super().__init__(**settings)

        def _prepare_dataset(self, dataset: Any, *args: Any, **settings: Any) -> Any:  # noqa: ARG002
            return dataset  # rows are tokenized by the collator

        def get_train_dataloader(self) -> Any:
            return DataLoader(
                self.train_dataset, batch_sampler=self._course.left, collate_fn=self.data_collator
            )

        def create_scheduler(self, *_: Any, **__: Any) -> Any:
            self.lr_scheduler = self._course.schedule()
            return self.lr_scheduler

        def training_step(self, *args: Any, **settings: Any) -> Tensor:
            spent = self._course.spent
            with loop.flops_of(count=not spent.flops_per_token) as counted:
                loss: Tensor = super().training_step(*args, **settings)
            self._course.check(loss)
            margins = (
                self._metrics["train"].get("rewards/margins") if self._course.plan.loss == "dpo" else None
            )
            self._last = float(loss), margins[-1] if margins else None, counted
            return loss

    class Told(Following):
        """Tells the plan after each update."""

        def __init__(self, course: Course, **settings: Any) -> None:
            super().__init__(course, **settings)
            self.add_callback(_after_each_step(lambda: course.step_done(*self._last)))

    return Told


def _after_each_step(then: Callable[[], None]) -> Any:
    from transformers import TrainerCallback

    class AfterEachStep(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            then()

    return AfterEachStep()


def collated(model: TrainableModel, plan: Plan, examples: Sequence[Example]) -> dict[str, Tensor]:
    """What a trainer reads of some examples: for `dpo` the chosen answers' rows, then the rejected ones'.

    Raises:
        UsageError: for pictures of several sizes, which cannot stand in one batch here.
    """
    rows = [model.encoded(each.prompt, each.chosen) for each in examples]
    if plan.loss == "dpo":
        rows += [model.encoded(each.prompt, each.rejected) for each in examples]
    fields = _joined(model, rows)
    if plan.loss == "nll":
        return {**fields, "labels": fields["input_ids"].masked_fill(_answers(rows, fields) == 0, -100)}
    found = {**fields, "completion_mask": _answers(rows, fields)}
    if plan.loss == "dpo":
        return found
    others = [model.encoded(*pair) for pair in mismatched(examples)]
    apart = _joined(model, others)
    return found | {
        "label": torch.tensor([each.desirable for each in examples]),
        "KL_input_ids": apart["input_ids"],
        "KL_attention_mask": apart["attention_mask"],
        "KL_completion_mask": _answers(others, apart),
    }


def _joined(model: TrainableModel, rows: Sequence[Encoded]) -> dict[str, Tensor]:
    if len({row.bucket for row in rows if row.pictures}) > 1:
        raise UsageError(
            f"{model.folder}: backend 'trl' takes pictures of one size in a batch, and these give tensors of "
            f"several shapes: use --backend loop"
        )
    return dict(model.joined(rows))


def _answers(rows: Sequence[Encoded], fields: dict[str, Tensor]) -> Tensor:
    """1 on tokens of answers, 0 on prompts and padding, (n, t)."""
    found = torch.zeros_like(fields["input_ids"])
    for number, row in enumerate(rows):
        found[number, row.length - row.answer : row.length] = 1
    return found


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Of names that TRL's settings still have for older versions of transformers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _as_it_is(model: Any, mode: bool = True) -> Any:
    """In place of `train()`: TRL sees that it trains, and nothing is dropped out."""
    model.training = mode
    return model


def _scores(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor,
    labels: Tensor,
    *,
    pixel_values: Tensor | None = None,
    **_: Any,
) -> Any:
    """BLIP-2 in place of TRL's fused head, which expects a backbone: log-likelihoods of labels.

    Rows with and without pictures run apart, since the whole model's `forward` demands pixels.
    """
    from trl.trainer.utils import FusedCausalLMOutput

    pictured = (input_ids == model.config.image_token_index).any(dim=1)
    logits = input_ids.new_zeros(
        (*input_ids.shape, model.get_output_embeddings().out_features), dtype=torch.float32
    )
    for seen, pixels in ((pictured, {"pixel_values": pixel_values}), (~pictured, {})):
        if bool(seen.any()):
            forward = type(model).forward.__get__(model) if pixels else model.language_model
            found = forward(
                input_ids=input_ids[seen], attention_mask=attention_mask[seen], use_cache=False, **pixels
            )
            logits = logits.index_put((seen.nonzero()[:, 0],), found.logits.float())
    mask, wanted = labels[:, 1:] != -100, labels[:, 1:].clamp(min=0)
    known = nn.functional.log_softmax(logits[:, :-1], dim=-1)
    likelihoods = known.gather(2, wanted[..., None])[..., 0].masked_fill(~mask, 0)
    return FusedCausalLMOutput(
        loss=-likelihoods.sum() / mask.sum().clamp(min=1),
        log_probs=likelihoods,
        entropy=-(known.exp() * known).sum(-1).masked_fill(~mask, 0),
        mean_logits=logits[:, :-1].mean(-1).detach(),
        is_top1=(known.argmax(-1) == wanted) & mask,
        label_mask=mask,
    )
