/// How much a stored entry tells whoever owns the search service; stated in the header of every entry.
///
/// A room has one profile, one analyser and one set of languages for the length of an epoch: whoever changes one of them
/// begins an epoch.
package enum SearchProfile: UInt8, CaseIterable, Sendable {
    /// Sorted tokens of 8 octets: the service sees which messages of a room share a term.
    case list = 1
    /// `list` with padding to a multiple of 8 and with variants of frequent terms: the counts are smoothed.
    case padded = 2
    /// Codewords of 3 octets under a salt of the message: nothing can be compared until somebody searches.
    case salted = 3

    /// As in configuration, logs and reports.
    package var name: String {
        switch self {
        case .list: "list"
        case .padded: "padded"
        case .salted: "salted"
        }
    }

    package init?(name: String) {
        guard let profile = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = profile
    }

    /// What a token takes in a lookup: 8 octets are compared, 16 are the key of a comparison.
    package var tokenByteCount: Int { self == .salted ? 16 : 8 }
}

/// Which analyser made the terms; part of the index format. Another number gives other tokens by construction.
package struct AnalyserID: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
}

/// One term of one room and epoch as the search service sees it: the first 16 octets of an HMAC.
///
/// Profiles `list` and `padded` compare its first 8 octets as a number; `salted` uses all 16 as a key.
package struct SearchToken: Hashable, Sendable, Comparable {
    package static let byteCount = 16

    /// The first 8 octets, big endian: the token of `list` and `padded`.
    package let high: UInt64
    package let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    package var octets: [UInt8] {
        [UInt8](unsafeUninitializedCapacity: Self.byteCount) { buffer, initialized in
            for index in 0..<8 {
                buffer[index] = UInt8(truncatingIfNeeded: high >> UInt64(56 - 8 * index))
                buffer[index + 8] = UInt8(truncatingIfNeeded: low >> UInt64(56 - 8 * index))
            }
            initialized = Self.byteCount
        }
    }

    package static func < (left: Self, right: Self) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }
}
