"""Attacks, one file each: cases in, drafts out.

Classes are loaded when they are first named: `sightline.attacks.NAME`, `dir(sightline.attacks)`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.attacks.controls.augment_drawn_typed import AugmentDrawnTyped as AugmentDrawnTyped
    from sightline.attacks.controls.blank_image import BlankImage as BlankImage
    from sightline.attacks.controls.caption_strip_typed import CaptionStripTyped as CaptionStripTyped
    from sightline.attacks.controls.cs_dj_typed import CSDJTyped as CSDJTyped
    from sightline.attacks.controls.drawn_injection_typed import DrawnInjectionTyped as DrawnInjectionTyped
    from sightline.attacks.controls.fc_attack_typed import FCAttackTyped as FCAttackTyped
    from sightline.attacks.controls.figstep_pro_typed import FigStepProTyped as FigStepProTyped
    from sightline.attacks.controls.figstep_typed import FigStepTyped as FigStepTyped
    from sightline.attacks.controls.hades_typed import HadesTyped as HadesTyped
    from sightline.attacks.controls.himrd_typed import HIMRDTyped as HIMRDTyped
    from sightline.attacks.controls.jailbreak_in_pieces_typed import (
        JailbreakInPiecesTyped as JailbreakInPiecesTyped,
    )
    from sightline.attacks.controls.jood_typed import JOODTyped as JOODTyped
    from sightline.attacks.controls.last_turn import LastTurn as LastTurn
    from sightline.attacks.controls.mm_typography_typed import MMTypographyTyped as MMTypographyTyped
    from sightline.attacks.controls.mml_typed import MMLTyped as MMLTyped
    from sightline.attacks.controls.noise_image import NoiseImage as NoiseImage
    from sightline.attacks.controls.noise_on_picture import NoiseOnPicture as NoiseOnPicture
    from sightline.attacks.controls.none import NoAttack as NoAttack
    from sightline.attacks.controls.query_relevant_typed import QueryRelevantTyped as QueryRelevantTyped
    from sightline.attacks.controls.question_only import QuestionOnly as QuestionOnly
    from sightline.attacks.controls.recorded import Recorded as Recorded
    from sightline.attacks.controls.si_attack_typed import SIAttackTyped as SIAttackTyped
    from sightline.attacks.controls.text_only import TextOnly as TextOnly
    from sightline.attacks.controls.unrelated_image import UnrelatedImage as UnrelatedImage
    from sightline.attacks.controls.visual_roleplay_typed import VisualRoleplayTyped as VisualRoleplayTyped
    from sightline.attacks.conversation.bap_text import BapText as BapText
    from sightline.attacks.conversation.best_of_n import BestOfN as BestOfN
    from sightline.attacks.conversation.chain import Chain as Chain
    from sightline.attacks.conversation.checker_injection import CheckerInjection as CheckerInjection
    from sightline.attacks.conversation.crescendo import Crescendo as Crescendo
    from sightline.attacks.conversation.follow_up import FollowUp as FollowUp
    from sightline.attacks.conversation.follow_up_live import FollowUpLive as FollowUpLive
    from sightline.attacks.conversation.ideator import Ideator as Ideator
    from sightline.attacks.conversation.known_prompt import KnownPrompt as KnownPrompt
    from sightline.attacks.conversation.modality_switch import ModalitySwitch as ModalitySwitch
    from sightline.attacks.conversation.pair import Pair as Pair
    from sightline.attacks.conversation.sasp import SASP as SASP
    from sightline.attacks.conversation.tap import Tap as Tap
    from sightline.attacks.conversation.two_hop import TwoHop as TwoHop
    from sightline.attacks.textual.augment import Augment as Augment
    from sightline.attacks.textual.encoding import Encoding as Encoding
    from sightline.attacks.textual.few_shot import FewShot as FewShot
    from sightline.attacks.textual.gcg import GCG as GCG
    from sightline.attacks.textual.many_shot import ManyShot as ManyShot
    from sightline.attacks.textual.past_tense import PastTense as PastTense
    from sightline.attacks.textual.past_tense_rule import PastTenseRule as PastTenseRule
    from sightline.attacks.textual.payload_splitting import PayloadSplitting as PayloadSplitting
    from sightline.attacks.textual.qi_text import QiText as QiText
    from sightline.attacks.textual.text_template import TextTemplate as TextTemplate
    from sightline.attacks.textual.tpgd import TPGD as TPGD
    from sightline.attacks.textual.translation import Translation as Translation
    from sightline.attacks.typographic.augment_drawn import AugmentDrawn as AugmentDrawn
    from sightline.attacks.typographic.caption_strip import CaptionStrip as CaptionStrip
    from sightline.attacks.typographic.cs_dj import CSDJ as CSDJ
    from sightline.attacks.typographic.drawn_injection import DrawnInjection as DrawnInjection
    from sightline.attacks.typographic.fc_attack import FCAttack as FCAttack
    from sightline.attacks.typographic.figstep import FigStep as FigStep
    from sightline.attacks.typographic.figstep_pro import FigStepPro as FigStepPro
    from sightline.attacks.typographic.hades import Hades as Hades
    from sightline.attacks.typographic.himrd import HIMRD as HIMRD
    from sightline.attacks.typographic.jood import JOOD as JOOD
    from sightline.attacks.typographic.mm_typography import MMTypography as MMTypography
    from sightline.attacks.typographic.mml import MML as MML
    from sightline.attacks.typographic.ocr_style_search import OcrStyleSearch as OcrStyleSearch
    from sightline.attacks.typographic.query_relevant import QueryRelevant as QueryRelevant
    from sightline.attacks.typographic.si_attack import SIAttack as SIAttack
    from sightline.attacks.typographic.visual_roleplay import VisualRoleplay as VisualRoleplay
    from sightline.attacks.visual.bard import Bard as Bard
    from sightline.attacks.visual.carlini import Carlini as Carlini
    from sightline.attacks.visual.cropa import CroPA as CroPA
    from sightline.attacks.visual.image_hijack import ImageHijack as ImageHijack
    from sightline.attacks.visual.injection import Injection as Injection
    from sightline.attacks.visual.jailbreak_in_pieces import JailbreakInPieces as JailbreakInPieces
    from sightline.attacks.visual.misleading import Misleading as Misleading
    from sightline.attacks.visual.qi_visual import QiVisual as QiVisual
    from sightline.attacks.visual.schlarmann_hein import SchlarmannHein as SchlarmannHein
    from sightline.attacks.visual.tool_misuse import ToolMisuse as ToolMisuse
else:
    from sightline.namespaces import namespace

    __getattr__, __dir__ = namespace("attack")
