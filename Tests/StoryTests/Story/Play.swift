import Cryptography
import Foundation
import HDSClient
import KMSClient
import KMSProtocol
import Testing

/// The story cut into steps, so that something can happen between any two of them.
final class Play {
    enum Step: Int, CaseIterable, CustomTestStringConvertible, Sendable {
        case makeSpace, post, sendFile, addBob, bobReads, bobFetches, bobPosts, bobLeaves, postAgain, bobIsRefused,
            readAll

        var testDescription: String { "before \(self)" }
    }

    let deployment: Deployment
    let alice: Person
    let bob: Person
    private let name: String
    private let binary: [UInt8]
    private var space: Space?
    private var sessions: [String?] = []
    /// What the KMS and the core have acknowledged, in order.
    private var acknowledged: [String] = []

    /// Both are logged in and have their sessions: from here on no handshake may happen.
    init(_ deployment: Deployment) async throws {
        self.deployment = deployment
        let device = UUID().uuidString
        name = "Space \(device)"
        binary = try Material.binary(70_001)
        alice = try await Person.logIn("alice", in: deployment, device: device)
        bob = try await Person.logIn("bob", in: deployment, device: device)
        for person in [alice, bob] {
            try await person.client.kms.perform(.ping)
            let session = try person.sessionURI()
            #expect(session != nil)
            sessions.append(session)
        }
    }

    func close() async {
        await alice.close()
        await bob.close()
    }

    func current() throws -> Space { try #require(space) }

    func perform(_ step: Step) async throws {
        switch step {
        case .makeSpace: space = try await alice.spaces.create(name: name, with: [])
        case .post:
            for line in Material.lines.prefix(3) {
                try await alice.spaces.post(line, in: current())
                acknowledged.append(line)
            }
        case .sendFile:
            let path = deployment.domain.path("file-\(UUID().uuidString).bin")
            try Data(binary).write(to: URL(fileURLWithPath: path))
            _ = try await alice.spaces.sendFile(path, to: current()) { _, _, _ in }
        case .addBob: _ = try await alice.spaces.add(bob.email, to: current())
        case .bobReads:
            let seen = try await bob.spaces.find(name)
            #expect(try await bob.texts(of: seen) == acknowledged)
        case .bobFetches:
            let files = try await bob.entries(of: current()).compactMap { entry in
                if case .files(let files) = entry.content { files.first } else { nil }
            }
            let copy = deployment.domain.path("copy-\(UUID().uuidString).bin")
            _ = try await bob.spaces.fetch(try #require(files.first), to: copy, overwriting: false) { _, _, _ in }
            #expect(try Data(contentsOf: URL(fileURLWithPath: copy)) == Data(binary))
        case .bobPosts:
            try await bob.spaces.post("An answer from Bob", in: current())
            acknowledged.append("An answer from Bob")
        case .bobLeaves: try await bob.spaces.leave(current())
        case .postAgain:
            try await alice.spaces.post(Material.afterwards, in: current())
            acknowledged.append(Material.afterwards)
        case .bobIsRefused:
            let keys = try alice.keyURIs(of: current())
            #expect(keys.count == 2)
            for uri in keys {
                guard case .refused(403, _) = try await bob.client.verdict(onKey: uri) else {
                    Issue.record("Bob gets \(uri) after he left")
                    continue
                }
            }
        case .readAll:
            #expect(try await alice.texts(of: current()) == acknowledged)
            // What the KMS acknowledged: one authorization and two keys, asked past everything that is known here.
            let resource = try #require(try current().resource)
            let kms = alice.client.kms
            guard case .resource(let known) = try await kms.perform(.retrieveResource(resource)).body else {
                Issue.record("no resource came")
                return
            }
            #expect(known.keyURIs.count == 2)
            #expect(known.authorizationURIs.count == 1)
        }
    }

    /// Nobody had to open another session.
    func expectSameSessions() throws {
        #expect([try alice.sessionURI(), try bob.sessionURI()] == sessions)
    }
}
