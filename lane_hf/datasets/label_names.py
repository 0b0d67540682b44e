"""Names of the labels of the registry's data sets, in the order of the class ids."""

__all__ = [
    "AG_NEWS",
    "CCS",
    "CCS_SECOND_LEVEL",
    "EMPATHETIC",
    "GOEMOTIONS",
    "ISEAR",
    "PLUTCHIK",
    "RCV1_TOPICS",
    "SENTIMENT",
    "STARS",
    "TREC",
    "YAHOO",
]

# The order of the release's emotions.txt: alphabetical, with neutral last.
GOEMOTIONS = (
    *("admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire"),
    *("disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy"),
    *("love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise"),
    "neutral",
)

# The release numbers no labels: alphabetical.
EMPATHETIC = (
    *("afraid", "angry", "annoyed", "anticipating", "anxious", "apprehensive", "ashamed", "caring", "confident"),
    *("content", "devastated", "disappointed", "disgusted", "embarrassed", "excited", "faithful", "furious"),
    *("grateful", "guilty", "hopeful", "impressed", "jealous", "joyful", "lonely", "nostalgic", "prepared", "proud"),
    *("sad", "sentimental", "surprised", "terrified", "trusting"),
)

# The order of the questionnaire's column EMOT, 1 to 7.
ISEAR = ("joy", "fear", "anger", "sadness", "disgust", "shame", "guilt")

# CancerEmo's eight emotions; the release numbers none: alphabetical.
PLUTCHIK = ("anger", "anticipation", "disgust", "fear", "joy", "sadness", "surprise", "trust")

SENTIMENT = ("very negative", "negative", "neutral", "positive", "very positive")

STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")

AG_NEWS = ("World", "Sports", "Business", "Sci/Tech")

YAHOO = (
    *("Society & Culture", "Science & Mathematics", "Health", "Education & Reference", "Computers & Internet"),
    *("Sports", "Business & Finance", "Entertainment & Music", "Family & Relationships", "Politics & Government"),
)

# The 103 topic codes of RCV1-v2 (Lewis et al. 2004), alphabetical. A code's parent follows from the code.
RCV1_TOPICS = (
    *("C11", "C12", "C13", "C14", "C15", "C151", "C1511", "C152", "C16", "C17", "C171", "C172", "C173", "C174", "C18"),
    *("C181", "C182", "C183", "C21", "C22", "C23", "C24", "C31", "C311", "C312", "C313", "C32", "C33", "C331", "C34"),
    *("C41", "C411", "C42", "CCAT", "E11", "E12", "E121", "E13", "E131", "E132", "E14", "E141", "E142", "E143", "E21"),
    *("E211", "E212", "E31", "E311", "E312", "E313", "E41", "E411", "E51", "E511", "E512", "E513", "E61", "E71"),
    *("ECAT", "G15", "G151", "G152", "G153", "G154", "G155", "G156", "G157", "G158", "G159", "GCAT", "GCRIM", "GDEF"),
    *("GDIP", "GDIS", "GENT", "GENV", "GFAS", "GHEA", "GJOB", "GMIL", "GOBIT", "GODD", "GPOL", "GPRO", "GREL", "GSCI"),
    *("GSPO", "GTOUR", "GVIO", "GVOTE", "GWEA", "GWELF", "M11", "M12", "M13", "M131", "M132", "M14", "M141", "M142"),
    *("M143", "MCAT"),
)

# The second level of the ACM Computing Classification System of 2012, under its 13 top-level concepts.
CCS: dict[str, tuple[str, ...]] = {
    "General and reference": ("Document types", "Cross-computing tools and techniques"),
    "Hardware": (
        *("Printed circuit boards", "Communication hardware, interfaces and storage", "Integrated circuits"),
        *("Very large scale integration design", "Power and energy", "Electronic design automation"),
        *("Hardware validation", "Hardware test", "Robustness", "Emerging technologies"),
    ),
    "Computer systems organization": (
        *("Architectures", "Embedded and cyber-physical systems", "Real-time systems"),
        "Dependable and fault-tolerant systems and networks",
    ),
    "Networks": (
        *("Network architectures", "Network protocols", "Network components", "Network algorithms"),
        *("Network performance evaluation", "Network properties", "Network services", "Network types"),
    ),
    "Software and its engineering": (
        *("Software organization and properties", "Software notations and tools"),
        "Software creation and management",
    ),
    "Theory of computation": (
        *("Models of computation", "Formal languages and automata theory"),
        *("Computational complexity and cryptography", "Logic", "Design and analysis of algorithms"),
        *("Randomness, geometry and discrete structures", "Theory and algorithms for application domains"),
        "Semantics and reasoning",
    ),
    "Mathematics of computing": (
        *("Discrete mathematics", "Probability and statistics", "Mathematical software", "Information theory"),
        *("Mathematical analysis", "Continuous mathematics"),
    ),
    "Information systems": (
        *("Data management systems", "Information storage systems", "Information systems applications"),
        *("World Wide Web", "Information retrieval"),
    ),
    "Security and privacy": (
        *("Cryptography", "Formal methods and theory of security", "Security services"),
        *("Intrusion/anomaly detection and malware mitigation", "Security in hardware", "Systems security"),
        *("Network security", "Database and storage security", "Software and application security"),
        "Human and societal aspects of security and privacy",
    ),
    "Human-centered computing": (
        *("Human computer interaction (HCI)", "Interaction design", "Collaborative and social computing"),
        *("Ubiquitous and mobile computing", "Visualization", "Accessibility"),
    ),
    "Computing methodologies": (
        *("Symbolic and algebraic manipulation", "Parallel computing methodologies", "Artificial intelligence"),
        *("Machine learning", "Modeling and simulation", "Computer graphics"),
        *("Distributed computing methodologies", "Concurrent computing methodologies"),
    ),
    "Applied computing": (
        *("Electronic commerce", "Enterprise computing", "Physical sciences and engineering"),
        *("Life and medical sciences", "Law, social and behavioral sciences", "Computer forensics"),
        *("Arts and humanities", "Computers in other domains", "Operations research", "Education"),
        "Document management and text processing",
    ),
    "Social and professional topics": (
        *("Professional topics", "Computing / technology policy", "User characteristics"),
    ),
}

CCS_SECOND_LEVEL = tuple(name for names in CCS.values() for name in names)

# The coarse types of Li and Roth; the order of the Hub's copy, CogComp/trec.
TREC = ("abbreviation", "entity", "description", "human", "location", "numeric")
