"""ECG leads in the MDC coding scheme: IEEE 11073-10101, DICOM PS3.16 CID 3001.

A DICOM code is `partition:term`; the same number in decimal (partition * 65536 + term) is
MDC_ECG_LEAD_…, and 256 more is the potential on that lead, MDC_ECG_ELEC_POTL_….
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lead:
    """One lead: its code, and its meaning in the words of CID 3001."""

    code: str
    meaning: str

    @property
    def potential(self) -> str:
        """The MDC code of the potential on this lead, as decimal text."""
        partition, term = (int(part) for part in self.code.split(":"))
        return str(partition * 65536 + 256 + term)


PLETH = Lead("2:19380", "Plethysmogram")
"""No lead, but coded as one: MDC_PULS_OXIM_PLETH (150452), the light that a pulse lets through."""

LEAD_I = Lead("2:1", "Lead I")
LEAD_II = Lead("2:2", "Lead II")
LEAD_V1 = Lead("2:3", "Lead V1")
LEAD_V2 = Lead("2:4", "Lead V2")
LEAD_V3 = Lead("2:5", "Lead V3")
LEAD_V4 = Lead("2:6", "Lead V4")
LEAD_V5 = Lead("2:7", "Lead V5")
LEAD_V6 = Lead("2:8", "Lead V6")
LEAD_III = Lead("2:61", "Lead III")
LEAD_AVR = Lead("2:62", "Lead aVR")
LEAD_AVL = Lead("2:63", "Lead aVL")
LEAD_AVF = Lead("2:64", "Lead aVF")
