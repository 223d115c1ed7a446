import WireText

/// The id that stands where an erased person's id stood: a UUID that nobody has, another one in each space.
///
/// It keeps history readable ("somebody was a member then") and leads back to nobody. Its first group says what it is.
enum ErasedIdentity {
    static let prefix = "e5a5ed00-0000-4000-8000-"

    static func make() -> String { prefix + UUIDText.random().suffix(12) }

    static func isOne(_ id: String) -> Bool { id.lowercased().hasPrefix(prefix) }
}
