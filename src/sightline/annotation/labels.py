"""The labels of a run, where annotation keeps them; see `sightline.human_labels`."""

from sightline.human_labels import LABELS as LABELS
from sightline.human_labels import HumanLabel as HumanLabel
from sightline.human_labels import HumanLabels as HumanLabels
from sightline.human_labels import labels_of as labels_of
from sightline.human_labels import read_labels as read_labels
from sightline.human_labels import write_labels as write_labels
