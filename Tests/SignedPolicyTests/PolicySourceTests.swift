import Diagnostics
import JOSESignature
import PolicyFiles
import SignedPolicy
import TestServers
import Testing
import WireText

@Suite("Policies as people write them")
struct PolicySourceTests {
    @Test("YAML and JSON of the same content are one policy")
    func bothForms() throws {
        let yaml = "version: 1\norganisation: o\nissued: 2027-01-15T09:00:00Z\nagents:\n  - user: \"12\"\n"
        let json = #"{"agents": [{"user": "12"}], "issued": "2027-01-15T09:00:00Z", "version": 1, "organisation": "o"}"#
        let read = try PolicySource.read(yaml, file: "a")
        #expect(try PolicySource.read(json, file: "b").canonical == read.canonical)
        #expect(read.policy.agents.map(\.user) == ["12"])
    }

    @Test(
        "what YAML could read in two ways is refused with its line",
        arguments: [
            ("agents: &a []", ":4: anchors"), ("agents: [{user: &a x}]", ":4: anchors"),
            ("agents: []\nagents: []", ":4: agents: the member stands twice"),
            ("agents: !mine []", ":4: agents: tags"), ("moderation: !!bool \"true\"", ":4: moderation: tags"),
            ("agents:", ":4: agents: there is no value"), ("agents: ~", ":4: agents: there is no value"),
            ("agents: [{user: null}]", ":4: agents[0].user: there is no value"),
            ("agents: [", ":"), ("\tagents: []", ":"), ("<<: {agents: []}", ":4: : a name is no text"),
            ("---\nversion: 2", ":"),
        ])
    func refused(lines: String, place: String) {
        let error = Cast.error { try Cast.policy(lines) }
        #expect(error?.code == .policyMalformed)
        #expect(error?.summary.hasPrefix("policy.yaml\(place)") == true, "\(error?.description ?? "accepted")")
    }

    @Test(
        "a number in quotes is a text, and a text is no number", arguments: ["\"1\"", "01", "1_0", "+1", "0x1", "1.0"])
    func numbers(text: String) {
        let source = "version: \(text)\norganisation: o\nissued: 2027-01-15\n"
        #expect(Cast.error { try PolicySource.read(source, file: "p") }?.summary.contains("version: a number") == true)
    }

    @Test("an empty file, a huge one and a deep one are refused")
    func sizes() {
        for text in ["", "# nothing\n", String(repeating: "a: b\n", count: 200_000)] {
            #expect(Cast.error { try PolicySource.read(text, file: "p") }?.code == .policyMalformed)
        }
        let deep = "a: " + String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000)
        #expect(Cast.error { try PolicySource.read(deep, file: "p") }?.code == .policyMalformed)
    }

    @Test("signatures are put one below the other, each officer once, all over one policy")
    func signing() throws {
        let cast = try Cast()
        let folder = TemporaryFolder()
        let source = folder.path + "/policy.yaml", target = folder.path + "/policy.signed"
        try OwnFile.write(Array(Cast.yaml().utf8), toNew: source)
        try PolicySigning.sign(.init(file: source), into: target, with: cast.ada.key, appending: false)
        // Neither over what is signed, nor twice.
        for (key, appending) in [(cast.bob.key, false), (cast.ada.key, true)] {
            #expect(throws: DiagnosedError.self) {
                try PolicySigning.sign(.init(file: source), into: target, with: key, appending: appending)
            }
        }
        try PolicySigning.sign(.init(file: source), into: target, with: cast.bob.key, appending: true)
        let text = try folder.contents(of: "policy.signed")
        #expect(
            try SignedPolicyText.verify(text, by: cast.roster, signaturesNeeded: 2).signers.map(\.id) == ["ada", "bob"])

        // A changed policy takes a new version, and no signature of the old one.
        try OwnFile.replace(source, with: Array(Cast.yaml(version: 1, "moderation: false").utf8))
        for appending in [true, false] {
            #expect(throws: DiagnosedError.self) {
                try PolicySigning.sign(.init(file: source), into: target, with: cast.bob.key, appending: appending)
            }
        }
        try OwnFile.replace(source, with: Array(Cast.yaml(version: 2, "moderation: false").utf8))
        try PolicySigning.sign(.init(file: source), into: target, with: cast.bob.key, appending: false)
        #expect(try PolicySigning.read(target).policy.version == 2)
        #expect(try PolicySigning.read(source).isSigned == false)
        #expect(folder.names(in: "") == ["policy.signed", "policy.yaml"])
    }

    @Test("what lies in the place of the signed file and is no older policy is not overwritten")
    func foreignFile() throws {
        let cast = try Cast()
        let folder = TemporaryFolder()
        let source = folder.path + "/policy.yaml", target = folder.path + "/notes.txt"
        try OwnFile.write(Array(Cast.yaml(version: 9).utf8), toNew: source)
        try OwnFile.write(Array("do not lose me".utf8), toNew: target)
        for place in [target, source] {
            #expect(throws: DiagnosedError.self) {
                try PolicySigning.sign(.init(file: source), into: place, with: cast.ada.key, appending: false)
            }
        }
        #expect(try folder.contents(of: "notes.txt") == "do not lose me")
    }
}
