import Glibc

/// Test vectors and real corpora that lie beside the checkout, in `../shared/data`, and are no part of it.
///
/// `HDS_SHARED_DATA` names another folder. Suites that need a file are conditional on it, so that a checkout alone
/// passes and says what it left out:
/// ```swift
/// @Suite(.enabled(if: SharedData.isAvailable("wycheproof/aes_gcm_test.json")))
/// ```
package enum SharedData {
    package static let folder: String = {
        if let named = getenv("HDS_SHARED_DATA") { return String(cString: named) }
        // …/Tests/TestVectors/SharedData.swift -> …
        let package = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
        return package.joined(separator: "/") + "/../shared/data"
    }()

    package static func path(_ name: String) -> String { folder + "/" + name }

    /// Whether the file is there; prints one line when it is not.
    package static func isAvailable(_ name: String) -> Bool {
        if access(path(name), R_OK) == 0 { return true }
        print("skipped: \(path(name)) not found")
        return false
    }

    package struct Unreadable: Error, CustomStringConvertible {
        package let description: String
    }

    package static func bytes(_ name: String) throws -> [UInt8] {
        guard let file = fopen(path(name), "rb") else { throw Unreadable(description: "\(path(name)) can not be read") }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = fread(&piece, 1, piece.count, file), count > 0 { bytes += piece[..<count] }
        guard ferror(file) == 0 else { throw Unreadable(description: "\(path(name)) can not be read to its end") }
        return bytes
    }
}

/// What became of the vectors of one file: one line of output instead of one per vector.
package struct VectorTally {
    package private(set) var accepted = 0
    package private(set) var rejected = 0
    /// Sound by their standard, and refused on purpose by this project.
    package private(set) var refused = 0
    /// Vectors whose outcome is not the expected one, with what happened.
    package private(set) var failures: [String] = []

    package init() {}

    package enum Expectation { case accepted, rejected, refusedOnPurpose }

    package mutating func record(_ id: String, _ wasAccepted: Bool, expected: Expectation) {
        switch (expected, wasAccepted) {
        case (.accepted, true): accepted += 1
        case (.rejected, false): rejected += 1
        case (.refusedOnPurpose, false): refused += 1
        case (.accepted, false): failures.append("\(id): refused, but it is valid")
        case (.rejected, true), (.refusedOnPurpose, true): failures.append("\(id): accepted, but it must be refused")
        }
    }

    package mutating func fail(_ id: String, _ reason: String) { failures.append("\(id): \(reason)") }

    package var count: Int { accepted + rejected + refused + failures.count }

    package func report(_ name: String) {
        print("\(name): \(accepted) accepted, \(rejected) rejected, \(refused) refused on purpose")
    }
}

extension SharedData {
    /// The octets of a file that is packed with gzip.
    package static func unpacked(_ name: String) throws -> [UInt8] {
        let file = path(name)
        guard access(file, R_OK) == 0, let stream = popen("gzip -dc '\(file)'", "r") else {
            throw Unreadable(description: "\(file) can not be read")
        }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = fread(&piece, 1, piece.count, stream), count > 0 { bytes += piece[..<count] }
        guard pclose(stream) == 0 else { throw Unreadable(description: "\(file) can not be unpacked") }
        return bytes
    }

    /// The lines of a file of text, packed or not, without what follows a `#`.
    package static func dataLines(_ name: String) throws -> [Substring] {
        let octets = name.hasSuffix(".gz") ? try unpacked(name) : try bytes(name)
        return String(decoding: octets, as: UTF8.self).split(separator: "\n").compactMap { line in
            let data = line.prefix { $0 != "#" }
            return data.allSatisfy(\.isWhitespace) ? nil : data
        }
    }
}
