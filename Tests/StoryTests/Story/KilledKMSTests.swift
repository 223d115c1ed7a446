import Glibc
import HDSClient
import HTTPClient
import KMSClient
import KMSProtocol
import TestServers
import Testing

extension StoryTests {
    @Suite("The KMS killed with SIGKILL") struct KilledKMSTests {
        @Test(
            "Between any two steps: the clients go on with their sessions, nothing acknowledged is lost",
            arguments: LongTests.areWanted ? Play.Step.allCases : [.addBob, .bobLeaves])
        func killedBefore(_ killed: Play.Step) async throws {
            let deployment = try await Deployment.shared()
            let play = try await Play(deployment)
            for step in Play.Step.allCases {
                // Nobody waits for it to be ready again: the clients' requests do.
                if step == killed { try await deployment.restartAfterKill(.kms) }
                try await play.perform(step)
            }
            try play.expectSameSessions()
            await play.close()
        }

        @Test("With a request delivered to it and not answered: the request is done once")
        func killedInFlight() async throws {
            let deployment = try await Deployment.shared()
            let play = try await Play(deployment)
            try await play.perform(.makeSpace)
            let space = try play.current()
            let delivered = try await deployment.deliveries()
            // Stopped it can receive and not answer.
            deployment[.kms]?.send(SIGSTOP)
            let (alice, email) = (play.alice, play.bob.email)
            async let added = alice.spaces.add(email, to: space)
            _ = try await eventually("a delivery to the stopped KMS") {
                try await deployment.deliveries() > delivered ? true : nil
            }
            try await deployment.restartAfterKill(.kms)
            let bob = try await added
            #expect(bob.id == play.bob.id)
            let list = try await authorizations(of: space, play)
            #expect(list.map(\.authID).sorted() == [play.alice.id, play.bob.id].sorted())
            try play.expectSameSessions()
            await play.close()
        }

        @Test("At any moment of a change: each change is there once when it was acknowledged")
        func killedAnywhere() async throws {
            let deployment = try await Deployment.shared()
            let play = try await Play(deployment)
            try await play.perform(.makeSpace)
            let space = try play.current()
            let resource = try #require(space.resource)
            let kms = play.alice.client.kms
            let rounds = 8
            guard case .keys(let keys) = try await kms.perform(.createKeys(count: rounds)).body else {
                Issue.record("no keys came")
                return
            }
            for (round, key) in keys.enumerated() {
                async let bound = kms.perform(.bindKey(key.uri, resource: resource))
                // How far the request gets until then is left to chance; what has to hold is not.
                for _ in 0..<(round * 3) { _ = await deployment.status(of: .core, "/livez") }
                try await deployment.restartAfterKill(.kms)
                guard case .key(let known) = try await bound.body else {
                    Issue.record("no key came")
                    return
                }
                #expect(known.resourceURI == resource)
            }
            guard case .resource(let known) = try await kms.perform(.retrieveResource(resource)).body else {
                Issue.record("no resource came")
                return
            }
            #expect(Set(known.keyURIs).count == rounds + 1)
            #expect(known.keyURIs.count == rounds + 1)
            try play.expectSameSessions()
            await play.close()
        }

        private func authorizations(of space: Space, _ play: Play) async throws -> [KMSAuthorization] {
            let resource = try #require(space.resource)
            let reply = try await play.alice.client.kms.perform(.retrieveAuthorizations(resource: resource))
            guard case .authorizations(let list) = reply.body else { return [] }
            return list
        }
    }

    @Suite("The core killed with SIGKILL") struct KilledCoreTests {
        @Test("In the middle of the story: clients and link come back, nothing acknowledged is lost")
        func killed() async throws {
            let deployment = try await Deployment.shared()
            let play = try await Play(deployment)
            for step in Play.Step.allCases {
                if [.post, .bobReads, .bobLeaves, .readAll].contains(step) {
                    try await deployment.restartAfterKill(.core)
                    try await deployment.waitUntilReady(.core)
                }
                try await play.perform(step)
            }
            try play.expectSameSessions()
            // The link of the KMS came back by itself: the same process, ready.
            try await deployment.waitUntilReady(.kms)
            await play.close()
        }
    }
}

extension Deployment {
    /// Strings that the core has handed to links.
    func deliveries() async throws -> Int {
        let text = String(decoding: try await answer(of: .core, "/metrics").body, as: UTF8.self)
        let line = text.split(separator: "\n").first { $0.contains("outcome=\"delivered\"") }
        guard let value = line?.split(separator: " ").last.flatMap({ Double($0) }) else {
            throw NotInTime(what: "the metric of deliveries", limit: .zero, seen: text)
        }
        return Int(value)
    }
}
