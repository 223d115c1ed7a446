import Cryptography
import Diagnostics
import JOSESignature
import SignedPolicy
import TestServers
import Testing
import WireText

@Suite("Signatures of a policy")
struct SignedPolicyTextTests {
    private let cast: Cast
    private let payload: [UInt8]

    init() throws {
        cast = try Cast()
        payload = try Cast.canonical()
    }

    private func code(_ text: String, needed: Int = 1) -> DiagnosedError.Code? {
        Cast.error { try SignedPolicyText.verify(text, by: cast.roster, signaturesNeeded: needed) }?.code
    }

    @Test("one officer signs, or two do, with keys of either kind")
    func accepted() throws {
        let ada = try SignedPolicyText.sign(payload, with: cast.ada.key)
        let bob = try SignedPolicyText.sign(payload, with: cast.bob.key)
        let one = try SignedPolicyText.verify(ada, by: cast.roster, signaturesNeeded: 1)
        #expect(one.signers.map(\.id) == ["ada"] && one.policy.version == 1)
        let two = try SignedPolicyText.verify(bob + "\n" + ada, by: cast.roster, signaturesNeeded: 2)
        #expect(two.signers.map(\.id) == ["bob", "ada"])
        #expect(code(ada, needed: 2) == .policySignaturesMissing)
    }

    @Test("who is not enrolled and who is enrolled for something else spoils the file, beside whomever he signs")
    func strangers() throws {
        let ada = try SignedPolicyText.sign(payload, with: cast.ada.key)
        let eve = try SignedPolicyText.sign(payload, with: cast.eve)
        let cyd = try SignedPolicyText.sign(payload, with: cast.cyd.key)
        #expect(code(eve) == .officerUnknown && code(ada + eve) == .officerUnknown)
        #expect(code(cyd) == .officerDuty && code(ada + cyd) == .officerDuty)
        #expect(
            Cast.error {
                try SignedPolicyText.verify(ada, by: .empty, signaturesNeeded: 1)
            }?.code == .officerUnknown)
    }

    @Test("one officer is not two, and two policies are not one")
    func twice() throws {
        let ada = try SignedPolicyText.sign(payload, with: cast.ada.key)
        let again = try SignedPolicyText.sign(payload, with: cast.ada.key)
        #expect(code(ada + again, needed: 2) == .policySignature)
        let other = try SignedPolicyText.sign(try Cast.canonical(version: 2), with: cast.bob.key)
        #expect(code(ada + other, needed: 2) == .policySignature)
    }

    @Test("a signature of another kind, by a foreign name or with another algorithm is none")
    func kinds() throws {
        for kind in [OfficerSignature.Kind.request, .confirmation] {
            #expect(code(try OfficerSignature.sign(payload, as: kind, with: cast.ada.key)) == .policySignature)
        }
        // Eve signs under ada's name.
        let forged = try JWS.sign(
            payload, with: cast.eve, algorithm: .es256, kid: cast.ada.officer.kid, typ: "hds-policy")
        #expect(code(forged) == .policySignature)
        let weak = try JWS.sign(
            payload, with: cast.bob.key, algorithm: .rs256, kid: cast.bob.officer.kid, typ: "hds-policy")
        #expect(code(weak) == .policySignature)
        let nameless = try JWS.sign(payload, with: cast.ada.key, algorithm: .es256, kid: nil, typ: "hds-policy")
        #expect(code(nameless) == .officerUnknown)
        let untyped = try JWS.sign(payload, with: cast.ada.key, algorithm: .es256, kid: cast.ada.officer.kid, typ: nil)
        #expect(code(untyped) == .policySignature)
    }

    @Test("nothing, too many lines, and rubbish are no signed policy", arguments: ["", "\n\n", "eyJ", "a.b.c", "{}"])
    func rubbish(text: String) throws {
        #expect(code(text) == .policySignature)
        let line = try SignedPolicyText.sign(payload, with: cast.ada.key)
        #expect(code(String(repeating: line, count: 9)) == .policySignature)
        #expect(code(line + text + "x") == .policySignature)
    }

    @Test("a signed text that is no policy is refused although an officer signed it")
    func signedNonsense() throws {
        for nonsense in ["{}", "[]", #"{"issued":"2027-01-15T09:00:00Z", "organisation":"o","version":1}"#] {
            #expect(code(try SignedPolicyText.sign(Array(nonsense.utf8), with: cast.ada.key)) == .policyMalformed)
        }
    }

    @Test("no octet of a signed policy can be changed", arguments: SeededGenerator.seeds)
    func tampered(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let line = Array(try SignedPolicyText.sign(payload, with: cast.ada.key).dropLast().utf8)
        let characters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.".utf8)
        for _ in 0..<(LongTests.areWanted ? 200 : 20) {
            var changed = line
            let place = Int.random(in: 0..<line.count, using: &random)
            changed[place] = characters.randomElement(using: &random)!
            guard changed != line else { continue }
            let text = String(decoding: changed, as: UTF8.self)
            #expect(code(text) != nil, "seed \(seed), octet \(place)")
        }
    }
}
