"""A photograph as a DICOM object: the camera's own JPEG, encapsulated and never coded anew.

VL Photographic Image Storage (PS3.3 A.32.4) and Dermoscopic Photography Image Storage
(A.32.11), JPEG Baseline. pydicom is loaded when the first object is made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Final

from drivers.dicom.instance import begin, code, date_content, uid, written

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from drivers.dicom.instance import Origin

JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"

_COLOURS = 3
_UNKNOWN = "UNKNOWN"


class Photograph(Enum):
    """Which object is made: its SOP class and modality."""

    VL_PHOTOGRAPHIC = ("1.2.840.10008.5.1.4.1.1.77.1.4", "XC")
    DERMOSCOPIC = ("1.2.840.10008.5.1.4.1.1.77.1.7", "DMS")


@dataclass(frozen=True, slots=True)
class Picture:
    """A whole baseline JPEG; `width` and `height` in pixels, one or three `components`."""

    jpeg: bytes = field(repr=False)
    width: int
    height: int
    components: int


def photograph_object(picture: Picture, origin: Origin, form: Photograph) -> bytes:
    """One photograph as a file; the same arguments make the same bytes.

    A picture of one component has no dermoscopic form (PS3.3 C.8.12.14 asks for three) and
    becomes a VL Photographic Image.
    """
    if picture.components != _COLOURS:
        form = Photograph.VL_PHOTOGRAPHIC
    sop_class, modality = form.value
    instance = begin(origin, sop_class, modality)
    date_content(instance, origin.when)
    _image(instance, picture)
    if form is Photograph.DERMOSCOPIC:
        _dermoscopy(instance, origin)
    return written(instance, JPEG_BASELINE)


def _image(instance: Dataset, picture: Picture) -> None:
    """General Image, Image Pixel and VL Image (PS3.3 C.7.6.1, C.7.6.3, C.8.12.1)."""
    from pydicom.encaps import encapsulate  # noqa: PLC0415 - loaded by those who make objects only

    colour = picture.components == _COLOURS
    instance.ImageType = ["ORIGINAL", "PRIMARY"]
    instance.Laterality = ""  # of a body part that nobody named: truly unknown
    instance.SamplesPerPixel = picture.components
    instance.PhotometricInterpretation = "YBR_FULL_422" if colour else "MONOCHROME2"
    if colour:
        instance.PlanarConfiguration = 0
    instance.Rows, instance.Columns = picture.height, picture.width
    instance.BitsAllocated = instance.BitsStored = 8
    instance.HighBit = 7
    instance.PixelRepresentation = 0
    instance.PatientOrientation = ""
    instance.BurnedInAnnotation = "NO"
    instance.LossyImageCompression = "01"
    instance.LossyImageCompressionRatio = _ratio(picture)
    instance.LossyImageCompressionMethod = "ISO_10918_1"
    instance.add_new("PixelData", "OB", encapsulate([picture.jpeg]))


def _ratio(picture: Picture) -> str:
    whole = picture.width * picture.height * picture.components
    return str((Decimal(whole) / len(picture.jpeg)).quantize(Decimal("0.01")))


def _dermoscopy(instance: Dataset, origin: Origin) -> None:
    """Enhanced General Equipment and Dermoscopic Image (PS3.3 C.7.5.2, C.8.12.14).

    What nobody told us stands empty where that is allowed, and as unknown where it is not.
    """
    instance.Manufacturer = instance.Manufacturer or _UNKNOWN
    instance.ManufacturerModelName = instance.get("ManufacturerModelName") or _UNKNOWN
    instance.DeviceSerialNumber = instance.get("DeviceSerialNumber") or _UNKNOWN
    instance.SoftwareVersions = instance.get("SoftwareVersions") or _UNKNOWN
    instance.FrameOfReferenceUID = uid("frame of reference", origin.seed)
    instance.PositionReferenceIndicator = ""
    instance.AnatomicRegionSequence = [code("39937001", "SCT", "Skin")]
    instance.LightSourcePolarization = ""
    instance.EmitterColorTemperature = None
    instance.ContactMethod = ""
    instance.OpticalMagnificationFactor = None
    instance.RecognizableVisualFeatures = "NO"
