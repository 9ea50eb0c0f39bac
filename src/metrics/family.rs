//! Metrics that have one label, whose values are few and known: each has its series from the start, so that a rate is seen
//! from the first event on.

use std::marker::PhantomData;

use prometheus::Registry;
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};

/// The values of a label.
pub trait Label: Copy + 'static {
    /// The label's own name.
    const LABEL: &'static str;
    /// Every value, in the order of [`Self::index`].
    const VALUES: &'static [Self];

    /// Its place in [`Self::VALUES`].
    fn index(self) -> usize;

    /// As it is in Prometheus's text.
    fn text(self) -> &'static str;
}

/// An enum that is a [`Label`].
macro_rules! labels {
    ($(#[$about:meta])* $name:ident, $label:literal { $($(#[$doc:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $value,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$value,)+];

            /// As it is in Prometheus's text.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }

        impl $crate::metrics::family::Label for $name {
            const LABEL: &'static str = $label;
            const VALUES: &'static [Self] = Self::ALL;

            fn index(self) -> usize {
                self as usize
            }

            fn text(self) -> &'static str {
                self.name()
            }
        }
    };
}
pub(super) use labels;

/// A metric for each value of a label.
#[derive(Debug)]
pub struct Family<L, M> {
    series: Vec<M>,
    label: PhantomData<L>,
}

impl<L: Label, M> Family<L, M> {
    /// Registers what `made` holds under the label's values.
    pub(super) fn new<B>(registry: &Registry, made: prometheus::Result<MetricVec<B>>) -> Self
    where
        B: MetricVecBuilder<M = M>,
        MetricVec<B>: Collector + Clone + 'static,
    {
        let all = super::registered(registry, made);
        let of = |value: &L| all.with_label_values(&[value.text()]);
        Self {
            series: L::VALUES.iter().map(of).collect(),
            label: PhantomData,
        }
    }

    /// That of this value.
    pub fn of(&self, value: L) -> &M {
        &self.series[value.index()]
    }
}
