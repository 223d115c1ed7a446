import CoreLink
import Diagnostics
import KMSClient
import LinkProtocol
import LinkedService
import ServiceLifecycle
package import ServiceRuntime
import TextExtraction
import WireText

/// Puts the transcoding service together from its configuration: link, KMS, consent, requests for previews.
package enum TranscodeAssembly {
    package static let identity = ServiceIdentity(name: "hds-transcode", version: Release.version)

    package static func start(
        _ configuration: TranscodeConfiguration, _ context: ServiceContext
    ) async throws -> ServicePlan<TranscodeConfiguration> {
        let linked = try LinkedService(configuration, context, now: Timestamp.now())
        let pinned = KMSKeyInForce(try configuration.kms.staticKey())
        let kms = try linked.caller(configuration, pinned)
        let consents = ConsentHealth(context.health, .transcodeConsent)
        let said = LastRefusal()
        let consent = ServiceConsent(
            missing: DiagnosedError(
                .transcodeConsent, fault: .configuration, "the KMS gives this service no keys at present",
                hint: "see HDS-TRANSCODE-CONSENT and the check consent"),
            ask: { try await kms.perform(.createSealingKey) },
            changed: { state in
                said.take(state)
                consents.report(state)
            })
        var limits = ExtractionLimits()
        limits.documentSize = configuration.previews.largestMegabytes << 20
        limits.textSize = PreviewDesk.maximumImageBytes
        limits.seconds = configuration.previews.seconds
        let desk = PreviewDesk(
            consent: consent, kms: kms, links: linked.links,
            maker: PreviewMaker(program: configuration.previews.drawer, limits: limits), said: { said.reason })
        let requests = PreviewRequests(desk, linked.links)
        let settings = LinkSettings(
            configuration, version: identity.version,
            destination: { [organisation = configuration.organisation] in "transcode://\(organisation)" })
        let link = linked.link(configuration, settings) { requests.take($0) }
        return ServicePlan(
            services: [
                Recurring(every: .seconds(1)) {
                    // Before there is a link the KMS can not be asked.
                    if link.state.phase == .open { await consent.renewIfDue() }
                }, requests, link,
            ],
            selfTest: {},
            reload: { new in
                let fresh = try linked.prepare(new, now: .now())
                let key = try new.kms.staticKey()
                try await linked.renew(link, settings, with: fresh) { _ in }
                pinned.use(key)
            }, reloadable: LinkedService.reloadable(TranscodeConfiguration.self) + ["kms.certificate"])
    }
}

/// Requests that came over the link; a few are carried out at once, more wait, and what is too much is declined.
final class PreviewRequests: Service {
    private let desk: PreviewDesk
    private let links: LinkHolder
    private let incoming: AsyncStream<LinkDelivery>
    private let sink: AsyncStream<LinkDelivery>.Continuation
    private static let mostWaiting = 50
    /// Each is a process that draws.
    private static let atOnce = 2

    init(_ desk: PreviewDesk, _ links: LinkHolder) {
        self.desk = desk
        self.links = links
        (incoming, sink) = AsyncStream.makeStream(
            of: LinkDelivery.self, bufferingPolicy: .bufferingOldest(Self.mostWaiting))
    }

    func take(_ delivery: LinkDelivery) {
        switch sink.yield(delivery) {
        case .enqueued: break
        default: links.link?.decline(delivery, reason: "too many previews wait")
        }
    }

    func run() async throws {
        await withGracefulShutdownHandler {
            await withTaskGroup(of: Void.self) { group in
                var running = 0
                for await delivery in incoming {
                    if running == Self.atOnce {
                        await group.next()
                        running -= 1
                    }
                    running += 1
                    group.addTask { [desk, links] in
                        let answer = await desk.answer(delivery.text)
                        links.link?.answer(delivery, text: answer.octets)
                    }
                }
            }
        } onGracefulShutdown: {
            self.sink.finish()
        }
    }
}
