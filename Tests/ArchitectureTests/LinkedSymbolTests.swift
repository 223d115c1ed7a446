import FoundationEssentials
import Glibc
import Testing

/// What the finished programs can call, read from their dynamic symbols: the strongest form of "there is no code in
/// the core that could decrypt". TLS is inside libssl and does not show up here.
@Suite("Linked symbols")
struct LinkedSymbolTests {
    /// Beside the test bundle, where `swift build` and `swift test` put all products.
    private static let products: String = {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        let own = String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
        return own.split(separator: "/").dropLast().reduce(into: "") { $0 += "/" + $1 }
    }()

    private static func isBuilt(_ names: String...) -> Bool {
        names.allSatisfy { FileManager.default.isExecutableFile(atPath: "\(products)/\($0)") }
    }

    /// Decryption, key agreement, and what starts a cipher in either direction. The names are prefixes.
    private static let decryption = [
        "EVP_Decrypt", "EVP_Cipher", "EVP_PKEY_decrypt", "EVP_PKEY_derive", "EVP_Open", "RSA_private_decrypt",
        "RSA_public_decrypt", "EVP_PKEY_decapsulate", "ECDH_compute_key", "AES_", "CMS_decrypt", "PKCS7_decrypt",
    ]

    private static func decryptionSymbols(in listing: [UInt8]) -> [String] {
        String(decoding: listing, as: UTF8.self).split(separator: "\n").compactMap { line in
            let name = line.split(separator: " ").last?.split(separator: "@").first.map(String.init) ?? ""
            return decryption.contains(where: name.hasPrefix) ? name : nil
        }
    }

    private static func undefinedSymbols(of program: String) async throws -> [UInt8] {
        try await output(of: "nm -D --undefined-only '\(products)/\(program)'")
    }

    @Test(
        "The core calls nothing that decrypts",
        .enabled(if: isBuilt("hds-core"), "hds-core is not built: run swift build first"))
    func core() async throws {
        let symbols = try await Self.undefinedSymbols(of: "hds-core")
        let found = Self.decryptionSymbols(in: symbols)
        #expect(found.isEmpty, "hds-core can call \(found): the core must hold no code that could decrypt")
        // It does speak TLS and verify signatures, so the listing is a real one.
        let speaksTLS = String(decoding: symbols, as: UTF8.self).contains("SSL_CTX_new")
        #expect(speaksTLS, "the listing of hds-core does not even show TLS")
    }

    @Test(
        "The same search finds decryption in the KMS and in the client",
        .enabled(if: isBuilt("hds-kms", "hds"), "hds-kms and hds are not built: run swift build first"))
    func control() async throws {
        for program in ["hds-kms", "hds"] {
            let found = Self.decryptionSymbols(in: try await Self.undefinedSymbols(of: program))
            #expect(found.contains { $0.hasPrefix("EVP_Decrypt") }, "\(program) shows only \(found)")
        }
    }

    @Test("A listing of symbols is searched by name, not by text")
    func parser() {
        let listing = """
                             U EVP_DecryptInit_ex2@OPENSSL_3.0.0
                             U EVP_DecodeBlock@OPENSSL_3.0.0
                             U SSL_read@OPENSSL_3.0.0
                             w EVP_PKEY_derive_init@OPENSSL_3.0.0
            """
        #expect(Self.decryptionSymbols(in: Array(listing.utf8)) == ["EVP_DecryptInit_ex2", "EVP_PKEY_derive_init"])
    }
}
