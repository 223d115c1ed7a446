import Cryptography
import Diagnostics
import Encryption
import PostQuantum
import SecretMemory
import Testing
import WireText

@Suite("ML-KEM-768")
struct MLKEM768Tests {
    /// Made with OpenSSL 4.0 (by pyca/cryptography 48): the seed 00 01 ... 3f, a secret encapsulated to its public key.
    enum Vector {
        static let seed = (0..<64).map { UInt8($0) }
        static let publicKeyDigest = "0b7934c83125c788995e2ba6bd761e33046b3e40571be53e023309a29f398cc9"
        static let secret = "3653a05063578836cbad5689afbc5490122972d802e96180c53812e4b432e993"
        /// What the ciphertext gives with one bit changed.
        static let rejected = "aaf70940c7d954adc4eb5a7103ce6d3019351275e0db331e0908bd4bff157ff2"
        static let ciphertext = Base64URL.decode(
            """
            w3nm6Da0a_cDEY6d2fDPXgKASfiOUu8EoEvaYBvam_IIIK8ikP1aOHeNrKP8mbrV7RmU8IvaRHzMsnOtCHbytqldRCKQCteQocvG\
            JUyQGXvGt8_p-JbjSueKcih3v3ahBakXmFsnL_RKz4aHQbymX30gFVr66yH5fqIE38rt6cVvTqua62tFKJ7Nig5ctCiCKeW8vJRL\
            n6CPwW4NtOfzNiGC-HRwveriXc1CsLylWfGtjWLLjn7PG0rutDJRZNtE7-hvb2_68Ei5WzjEOPxM01vUolHEOOFx5ij496qaITo_\
            7eBuMcxttAD-pawxk9XVt8qJtP_DFrYdBgCgrIY7YTjpC_Y-ELZCIiGJR9CdFPy8cZJa16qk_o0op_ex2ytBpCYdk14V1K2yC9-l\
            cmH_TCnxbkdXHEa1hHVMgBeAO0cgD_KYKnaLW3N8vJXlrbicbzhHSjcGxluiXS4qgfj3suMnM4sgl1e4waU47ou1Rz9XUtepvMKo\
            eP7KKeUE-X7XziAMzC6DmNkCLWb8hX42dU7beRgjcjxAJ7-bLvuFicHOVkKSK8um8F3lisfo1mwq46lQq0_zRwugVto-p_WveViO\
            MdHNZzDmRlgKrDsftqvSOP7SFQEwne9rQYvy49sAP-rVRxeQ11MbmqL2zDB5pSDFZFOXglBFDb7AKVySP5t8q-1MyyJ6VTmPyjgI\
            MJuc7X3KqDv6kkXYkXFVEctjr9BH-4nkoB689KsAqDl8WVTv8DxMp8JzzWQOQoG79pbWFNmSkT-Gmgkm0KJ7zOZzSehfjRiyNYG3\
            SeVo97hhrMeWB3wXCm1kvRjBLe1WsWxUKo4BrKcsSncXlC49T8x-zCXzrSZCr6a2bDgU0y0fHUC7WwYM4z75mA8nAy955l7ZHygb\
            KsXfgMUvE1DbaPHEBWW9qBp9_c639nm6onBnvUZSzP0YiIDa5HgIIse0Ybiom7M1kqlFbP45G8opFffiAgDauQTAzsfB-U2kKkux\
            9MM2zCji0_eulk6OemoG_VsAcx0nKbXQSedBy5YOmEXe1SYyULGrTDkNqmYnqY5dVBnsufwxC1vYd3w9MeoVFlaELgjCGpm23QT8\
            bsjWyOoWvTnPK5bp7YkFeKWDkXLls1q73RA-bktNmGiehJZRsy-uhGUTl51BrjYwr5WENbI6IbgK4pvKtymZwBxgQ0YTetYjeUQu\
            Z-QEn-IoAv7hDCQtfQ7LhRkRnPmzXMY7i-z7zxjkaqw4dQDbb8yQi8KH8HB9m5iVlkFdKYHZrdwHwmvnAP9NQZzeOvLoGEQlS5TG\
            BYBg-Q0AOvcJYptPsWoE7Ru6GceXJGJt5zEWemLzJhpaSDLc2R9Ais6BKV2cssk6rS_ZdwussJXrGX2nPM9BHxWW_ZCduxH8FT-g\
            IY2OlJq_dQ-C5BhOWgEdGt6aNQC4oWMGolponCClWcGmZwD0dE4
            """)
    }

    private func hex(_ key: SymmetricKey) -> String { key.withUnsafeBytes { Hexadecimal.encode(Array($0)) } }

    @Test("A key pair from a seed, and a secret from a ciphertext, are those of another implementation")
    func vector() throws {
        let pair = try MLKEM768KeyPair(seed: Vector.seed)
        #expect(Hexadecimal.encode(SHA256.hash(pair.publicKey)) == Vector.publicKeyDigest)
        #expect(hex(try pair.secret(from: try #require(Vector.ciphertext))) == Vector.secret)
    }

    @Test("A changed ciphertext gives another secret, as FIPS 203 says, and no error that tells something")
    func implicitRejection() throws {
        var changed = try #require(Vector.ciphertext)
        changed[0] ^= 1
        #expect(hex(try MLKEM768KeyPair(seed: Vector.seed).secret(from: changed)) == Vector.rejected)
    }

    @Test("Both sides get the same secret, each time another one")
    func agrees() throws {
        let pair = try MLKEM768KeyPair.generate()
        let first = try MLKEM768KeyPair.encapsulate(to: pair.publicKey)
        let second = try MLKEM768KeyPair.encapsulate(to: pair.publicKey)
        #expect(try pair.secret(from: first.ciphertext).isEqual(to: first.secret))
        #expect(try pair.secret(from: second.ciphertext).isEqual(to: second.secret))
        #expect(!first.secret.isEqual(to: second.secret))
        #expect(first.secret.count == MLKEM768KeyPair.secretCount)
    }

    @Test("What is no public key, no ciphertext or no seed is refused")
    func refuses() throws {
        let pair = try MLKEM768KeyPair.generate()
        // Twelve bits of ones are no coefficient below 3329 (the check of the modulus).
        let outside: [UInt8] = [0xFF, 0xFF, 0xFF] + pair.publicKey.dropFirst(3)
        for key in [[], Array(pair.publicKey.dropLast()), pair.publicKey + [0], outside] {
            #expect(throws: DiagnosedError.self) { _ = try MLKEM768KeyPair.encapsulate(to: key) }
        }
        for ciphertext in [[], [UInt8](repeating: 7, count: 1087), [UInt8](repeating: 7, count: 1089)] {
            #expect(throws: DiagnosedError.self) { _ = try pair.secret(from: ciphertext) }
        }
        #expect(throws: DiagnosedError.self) { _ = try MLKEM768KeyPair(seed: [1, 2, 3]) }
    }
}
