import Foundation
import HDSClient
import KMSClient
import KMSProtocol
import Synchronization
import Testing

extension StoryTests {
    /// The promise of a removal, kept by the real programs: eight devices, the core between them and the KMS.
    @Suite("Removals under way") struct RemovalStoryTests {
        /// Whether Bob may read, as far as everybody has been told; each change makes another `epoch`.
        private struct Standing: Equatable, Sendable {
            enum Kind: Sendable { case allowed, refused, changing }
            var kind = Kind.changing
            var epoch = 0
        }

        private struct Seen: Sendable {
            var standing = Standing()
            var counts: [Standing.Kind: Int] = [:]
            var wrong: [String] = []
            var isOver = false

            mutating func set(_ kind: Standing.Kind) { standing = Standing(kind: kind, epoch: standing.epoch + 1) }
        }

        private final class Watch: Sendable {
            private let state = Mutex(Seen())
            func withLock<R: Sendable>(_ body: (inout Seen) -> R) -> R { state.withLock { seen in body(&seen) } }
        }

        private static func read(_ person: Person, _ key: String, _ seen: Watch) async throws {
            let before = seen.withLock { $0.standing }
            var isGranted = true
            do {
                try await person.client.kms.perform(.retrieveKey(key))
            } catch let refusal as KMSRefusal where refusal.status == 403 {
                isGranted = false
            }
            seen.withLock { seen in
                // Undisturbed only: nothing was sent or acknowledged while the read was under way.
                guard before == seen.standing, before.kind != .changing else { return }
                seen.counts[before.kind, default: 0] += 1
                if isGranted != (before.kind == .allowed) { seen.wrong.append("\(before.kind): granted \(isGranted)") }
            }
        }

        @Test("Seven devices of Bob read while Alice removes and adds him: after each acknowledgement they are refused")
        func removals() async throws {
            let deployment = try await Deployment.shared()
            let alice = try await Person.logIn("alice", in: deployment, device: UUID().uuidString)
            var devices: [Person] = []
            for _ in 0..<7 {
                devices.append(try await Person.logIn("bob", in: deployment, device: UUID().uuidString))
            }
            let bob = devices[0].id
            guard case .keys(let keys) = try await alice.client.kms.perform(.createKeys(count: 1)).body,
                case .resource(let space) = try await alice.client.kms.perform(
                    .createResource(keys: keys.map(\.uri), users: [alice.id])
                ).body
            else {
                Issue.record("no space")
                return
            }
            let key = keys[0].uri
            let seen = Watch()
            let readers = devices
            try await withThrowingTaskGroup(of: Void.self) { group in
                for device in readers.dropFirst() {
                    group.addTask {
                        while !seen.withLock({ $0.isOver }) { try await Self.read(device, key, seen) }
                    }
                }
                group.addTask {
                    defer { seen.withLock { $0.isOver = true } }
                    for round in 0..<8 {
                        seen.withLock { $0.set(.changing) }
                        try await alice.client.kms.perform(.createAuthorizations(resource: space.uri, ids: [bob]))
                        seen.withLock { $0.set(.allowed) }
                        try await Self.read(readers[0], key, seen)
                        if round == 4 { try await deployment.restartAfterKill(.kms) }
                        seen.withLock { $0.set(.changing) }
                        try await alice.client.kms.perform(.deleteAuthorization(resource: space.uri, id: bob))
                        seen.withLock { $0.set(.refused) }
                        for _ in 0..<2 { try await Self.read(readers[0], key, seen) }
                    }
                }
                try await group.waitForAll()
            }
            seen.withLock { seen in
                #expect(seen.wrong == [])
                #expect(seen.counts[.refused, default: 0] >= 16 && seen.counts[.allowed, default: 0] >= 8)
            }
            for person in devices + [alice] { await person.close() }
        }
    }
}
