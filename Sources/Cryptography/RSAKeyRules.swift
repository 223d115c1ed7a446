internal import Diagnostics

/// Which RSA public keys the project works with, whatever they are for.
///
/// 1. The modulus is odd and has 2048 to 8192 bits: below is breakable, above is a way to burn the verifier's time.
/// 2. The exponent is odd, at least 3 and at most 64 bits: with 1 anyone can sign, an even one is no RSA key.
/// 3. The modulus does not carry the fingerprint of the Infineon library (CVE-2017-15361, "ROCA"): such keys can be
///    factored. Their primes are k*M + (65537^a mod M) with M a product of the first primes, so that the modulus lies
///    in the group that 65537 generates modulo every small prime (Nemec et al., CCS 2017, section 2.3). A sound
///    modulus passes for one with probability 2^-27.
enum RSAKeyRules {
    static let allowedBits = 2048...8192

    /// `modulus` and `exponent` are big-endian without leading zeros.
    static func check(modulus: [UInt8], exponent: [UInt8]) throws(DiagnosedError) {
        let bits = bitCount(modulus)
        guard bits >= allowedBits.lowerBound else {
            throw DiagnosedError(
                .keyTooSmall, fault: .peer, "the RSA key is too small",
                expected: "at least \(allowedBits.lowerBound) bits", found: "\(bits) bits")
        }
        guard bits <= allowedBits.upperBound else {
            throw DiagnosedError(
                .keyInvalid, fault: .peer, "the RSA key is too large",
                expected: "at most \(allowedBits.upperBound) bits", found: "\(bits) bits")
        }
        guard let last = modulus.last, last & 1 == 1 else {
            throw DiagnosedError(.keyInvalid, fault: .peer, "the RSA modulus is even")
        }
        guard let lowest = exponent.last, lowest & 1 == 1, exponent.count <= 8, exponent != [1] else {
            throw DiagnosedError(
                .keyInvalid, fault: .peer, "the RSA exponent is not usable",
                expected: "an odd number of at least 3 and at most 64 bits", found: "\(bitCount(exponent)) bits")
        }
        guard !hasInfineonFingerprint(modulus) else {
            throw DiagnosedError(
                .keyVulnerable, fault: .peer, "the RSA key was made by a library whose keys can be factored",
                found: "the fingerprint of CVE-2017-15361 (ROCA)", hint: "have a new key made elsewhere")
        }
    }

    static func withoutLeadingZeros(_ number: [UInt8]) -> [UInt8] {
        guard number.first == 0 else { return number }
        return Array(number.drop { $0 == 0 })
    }

    static func bitCount(_ number: [UInt8]) -> Int {
        guard let first = number.first else { return 0 }
        return number.count * 8 - first.leadingZeroBitCount
    }

    static func hasInfineonFingerprint(_ modulus: [UInt8]) -> Bool {
        generatedGroups.allSatisfy { group in
            let prime = UInt32(group.count)
            let remainder = modulus.reduce(UInt32(0)) { ($0 << 8 | UInt32($1)) % prime }
            return group[Int(remainder)]
        }
    }

    /// For each odd prime up to 167, which residues are powers of 65537.
    private static let generatedGroups: [[Bool]] = (3...167).filter(isPrime).map { prime in
        var residues = [Bool](repeating: false, count: prime)
        var power = 1
        while !residues[power] {
            residues[power] = true
            power = power * 65537 % prime
        }
        return residues
    }

    private static func isPrime(_ number: Int) -> Bool {
        number > 1 && !(2..<number).contains { $0 * $0 <= number && number % $0 == 0 }
    }
}
